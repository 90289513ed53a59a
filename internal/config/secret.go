package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"
)

// maxSecretBytes bounds a secret's file; no password or URL is longer.
const maxSecretBytes = 64 << 10

// resolveSecrets replaces env:NAME and file:PATH of each secret key by what is there, without the one newline
// that editors put at the end of a file.
func (c *Config) resolveSecrets(src Source) Findings {
	var findings Findings
	walk("", reflect.ValueOf(c).Elem(), func(path string, v reflect.Value) {
		k, _ := describe(path)
		if !k.secret || v.Kind() != reflect.String {
			return
		}
		value, err := resolve(v.String())
		if err != nil {
			findings = append(findings, src.finding(path, "%s", err))
			return
		}
		v.SetString(value)
	})
	return findings
}

// keepKeyFiles lets the object stores read the files of their keys again, so that keys can be changed without a restart.
// It comes before resolveSecrets.
func (c *Config) keepKeyFiles() {
	stores := []*StorageOptions{&c.Storage.Options}
	if c.Storage.Previous != nil {
		stores = append(stores, &c.Storage.Previous.Options)
	}
	for _, o := range stores {
		id, secret := o.S3.AccessKeyID, o.S3.SecretAccessKey
		if !strings.HasPrefix(id, "file:") && !strings.HasPrefix(secret, "file:") {
			continue
		}
		o.S3.Keys = func() (string, string, error) {
			idNow, err := resolve(id)
			secretNow, err2 := resolve(secret)
			return idNow, secretNow, errors.Join(err, err2)
		}
	}
}

// Secret reads a secret from where it is: env:NAME or file:PATH. A secret itself is refused, since others could read it
// where this was given. The error never holds it.
func Secret(ref string) (string, error) {
	if !strings.HasPrefix(ref, "env:") && !strings.HasPrefix(ref, "file:") {
		return "", errors.New("takes env:NAME or file:PATH, never the secret itself")
	}
	return resolve(ref)
}

// resolve never has a secret's value in its errors, only where it was looked for.
func resolve(ref string) (string, error) {
	var value string
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if value, ok = os.LookupEnv(name); !ok {
			return "", fmt.Errorf("the environment variable %q is not set", name)
		}
	} else if path, ok := strings.CutPrefix(ref, "file:"); ok {
		data, err := readRegular(path, maxSecretBytes)
		if err != nil {
			return "", fmt.Errorf("secret file: %w", plain(err, path))
		}
		value = string(data)
	} else {
		return ref, nil
	}
	value = strings.TrimSuffix(value, "\n")
	value = strings.TrimSuffix(value, "\r")
	if value == "" {
		return "", fmt.Errorf("%q is empty", ref)
	}
	if strings.ContainsAny(value, "\x00\r\n") {
		return "", fmt.Errorf("%q has more than one line", ref)
	}
	return value, nil
}

// plain says the common cases in words.
func plain(err error, path string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be read by this user", path)
	default:
		return err
	}
}

// String is the configuration as YAML with its secrets covered, so that printing one is harmless.
func (c *Config) String() string {
	var b strings.Builder
	_ = writeYAML(&b, c, style{}) // a Builder takes everything
	return b.String()
}

// LogValue keeps secrets out of logs.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
