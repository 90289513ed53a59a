package blob_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

func TestADirectoryThatMustBeThereIsNotMadeAgain(t *testing.T) {
	for name, o := range map[string]blob.FSOptions{"journal": {}, "flushed": {WithoutJournal: true}} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			var mu sync.Mutex
			var asked []string
			full := errors.New("it has messages")
			o.MayMake = func(_ context.Context, dir string) error {
				mu.Lock()
				defer mu.Unlock()
				if asked = append(asked, dir); strings.HasSuffix(dir, "/full") {
					return full
				}
				return nil
			}
			f := openFS(t, base, o)
			ctx := t.Context()
			big := strings.Repeat("b", 1<<20)
			require.NoError(t, os.Mkdir(filepath.Join(base, "t"), 0o700))
			putAll := func(keys []string, body string) error {
				return f.PutAll(ctx, keys, strings.NewReader(body), int64(len(body)))
			}
			put(t, f, "t/new/1", "x")
			put(t, f, "top", "x")
			put(t, f, "u/new/1", "x")
			require.Equal(t, []string{"t/new", "t", "u/new", "u"}, asked)

			for _, tenant := range []string{"t", "gone"} {
				full1 := tenant + "/full/1"
				for what, err := range map[string]error{
					"small":          putAll([]string{full1}, "x"),
					"big":            putAll([]string{full1}, big),
					"one of several": putAll([]string{"t/new/2", full1}, "x"),
					"one below it":   putAll([]string{tenant + "/full/parts/1"}, "x"),
					"a copy":         f.Copy(ctx, "t/new/1", full1),
					"a description":  f.Replace(ctx, full1, strings.NewReader("x"), 1),
				} {
					require.ErrorIs(t, err, blob.ErrMissing, what)
					require.ErrorIs(t, err, full, what)
					require.ErrorContains(t, err, tenant+"/full", what)
				}
				require.NoDirExists(t, filepath.Join(base, tenant, "full"))
			}
			_, err := f.Stat(ctx, "t/new/2")
			require.ErrorIs(t, err, blob.ErrNotFound)

			require.NoError(t, os.Mkdir(filepath.Join(base, "t/full"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(base, "t/full/0"), nil, 0o600))
			put(t, f, "t/full/1", "x")
			put(t, f, "t/full/2", big)
			put(t, f, "t/full/parts/1", "x")
			require.NoError(t, os.Rename(filepath.Join(base, "t/full"), filepath.Join(base, "t/away")))
			require.ErrorIs(t, putAll([]string{"t/full/3"}, "x"), blob.ErrMissing, "unmounted while it is in use")
			require.ErrorIs(t, putAll([]string{"t/full/3"}, big), blob.ErrMissing)
			require.NoError(t, os.MkdirAll(filepath.Join(base, "t/full/lost+found"), 0o700))
			require.ErrorIs(t, putAll([]string{"t/full/3"}, "x"), blob.ErrMissing, "an empty disk is mounted")
			require.NoError(t, os.RemoveAll(filepath.Join(base, "t/full")))
			require.NoError(t, os.Rename(filepath.Join(base, "t/away"), filepath.Join(base, "t/full")))
			put(t, f, "t/full/3", "x")
			require.NoError(t, f.Replace(blob.MakingAll(ctx), "gone/full/1", strings.NewReader("x"), 1))
			put(t, f, "gone/full/2", "x")
		})
	}
}

// Another node may have made it, and this one's kernel may not know that yet.
func TestADirectoryThatSomebodyElseMakesIsUsed(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{MayMake: func(context.Context, string) error {
		return errors.Join(os.MkdirAll(filepath.Join(base, "t/m"), 0o700), os.WriteFile(filepath.Join(base, "t/m/0"), nil, 0o600), errors.New("it has messages"))
	}})
	put(t, f, "t/m/1", "x")
}
