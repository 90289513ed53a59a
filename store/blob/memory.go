package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"
)

// Memory keeps objects in memory, for tests: nothing survives the process. NewMemory makes one.
type Memory struct {
	mu      sync.RWMutex
	objects map[string]memoryObject
}

type memoryObject struct {
	data     []byte
	modified time.Time
}

var _ Bucket = (*Memory)(nil)

// NewMemory makes an empty bucket.
func NewMemory() *Memory { return &Memory{objects: map[string]memoryObject{}} }

// Put stores an object.
func (m *Memory) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if err := CheckPut(ctx, key, size); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	var b bytes.Buffer
	if err := CopyExactly(ctx, &b, r, size); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return m.add("put", key, b.Bytes())
}

// PutAll stores an object under several keys.
func (m *Memory) PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	for i, key := range keys {
		if err := m.Put(ctx, key, r, size); err != nil {
			return errors.Join(err, DeleteAll(ctx, m, keys[:i]))
		}
	}
	return nil
}

// Copy shares the bytes of src.
func (m *Memory) Copy(ctx context.Context, src, dst string) error {
	if err := errors.Join(ctx.Err(), CheckKey(src), CheckKey(dst)); err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	o, err := m.object("copy", src)
	if err != nil {
		return err
	}
	return m.add("copy to", dst, o.data)
}

// Get opens an object.
func (m *Memory) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, Info, error) {
	if err := CheckGet(ctx, key, offset); err != nil {
		return nil, Info{}, fmt.Errorf("get %s: %w", key, err)
	}
	o, err := m.object("get", key)
	if err != nil {
		return nil, Info{}, err
	}
	start, length := CutRange(int64(len(o.data)), offset, n)
	return io.NopCloser(io.NewSectionReader(bytes.NewReader(o.data), start, length)), o.info(key), nil
}

// Stat describes an object.
func (m *Memory) Stat(ctx context.Context, key string) (Info, error) {
	if err := CheckGet(ctx, key, 0); err != nil {
		return Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	o, err := m.object("stat", key)
	return o.info(key), err
}

// Delete removes an object.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := CheckGet(ctx, key, 0); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

// List yields what was there when it began.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := CheckPrefix(prefix); err != nil {
			yield(Info{}, fmt.Errorf("list: %w", err))
			return
		}
		for _, info := range m.snapshot(prefix) {
			if err := ctx.Err(); err != nil {
				yield(Info{}, fmt.Errorf("list: %w", err))
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Check fails only when ctx has ended.
func (m *Memory) Check(ctx context.Context) error { return ctx.Err() }

func (m *Memory) snapshot(prefix string) []Info {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []Info
	for key, o := range m.objects {
		if strings.HasPrefix(key, prefix) {
			all = append(all, o.info(key))
		}
	}
	return all
}

func (m *Memory) object(act, key string) (memoryObject, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	o, ok := m.objects[key]
	if !ok {
		return o, fmt.Errorf("%s %s: %w", act, key, ErrNotFound)
	}
	return o, nil
}

func (m *Memory) add(act, key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.objects[key]; taken {
		return fmt.Errorf("%s %s: %w", act, key, ErrExists)
	}
	m.objects[key] = memoryObject{data: data, modified: time.Now()}
	return nil
}

func (o memoryObject) info(key string) Info {
	return Info{Key: key, SizeBytes: int64(len(o.data)), Modified: o.modified}
}
