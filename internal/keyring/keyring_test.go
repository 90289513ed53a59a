package keyring_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/keyring"
)

// What the ring of TestMACsOfTheFixedRing gives.
const (
	goldenMAC    = "v1.k001.MxJefJ8U0zKXB00eME3-h0IfrqF5eZFemkudLwQlSP4"
	goldenCheck  = "k001.0MfYY9djCFXVfEYv5vun6Q"
	goldenSealed = "s1.k001.zy79sm-Z74lTir0sDljnrAOtd_tbjG622cMqYxrTXNnLgiPS"
)

func create(t *testing.T) (*keyring.Ring, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new", "dir", "keyring")
	r, err := keyring.Create(path)
	require.NoError(t, err)
	return r, path
}

func open(t *testing.T, path string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open("file:" + path)
	require.NoError(t, err)
	return r
}

// add adds a key to a ring, as an administrator does by hand, and opens it again.
func add(t *testing.T, path, id string, from time.Time) *keyring.Ring {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	secret := sha256.Sum256([]byte(id))
	_, err = fmt.Fprintln(f, id, base64.StdEncoding.EncodeToString(secret[:]), from.UTC().Format(time.RFC3339))
	require.NoError(t, errors.Join(err, f.Close()))
	return open(t, path)
}

// The command in the file is what people copy.
func TestAKeyIsAddedAsTheFileSays(t *testing.T) {
	r, path := create(t)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	_, command, found := strings.Cut(string(text), "#   echo ")
	require.True(t, found)
	command, _, _ = strings.Cut(command, "\n")
	shell := exec.CommandContext(t.Context(), "sh", "-c", "echo "+command)
	shell.Dir = filepath.Dir(path)
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", out)
	added := open(t, path)
	require.Contains(t, added.String(), "2 keys")
	require.Equal(t, r.CheckValue(), added.CheckValue())
	before := added.MAC(keyring.Scan, "a")
	require.NoError(t, r.Verify(keyring.Scan, before, "a"), "its time has not come: nodes that were not restarted know what it makes")
	later := open(t, path).WithClock(func() time.Time { return time.Now().Add(2 * time.Hour) })
	require.ErrorIs(t, r.Verify(keyring.Scan, later.MAC(keyring.Scan, "a"), "a"), keyring.ErrMAC)
	require.NoError(t, added.Verify(keyring.Scan, later.MAC(keyring.Scan, "a"), "a"))
}

func TestCreatedRingIsPrivateAndOpensAgain(t *testing.T) {
	r, path := create(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	dir, err := os.Stat(filepath.Dir(path))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), dir.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")

	again := open(t, path)
	require.NoError(t, again.Verify(keyring.Scan, r.MAC(keyring.Scan, "a"), "a"))
	require.Equal(t, r.CheckValue(), again.CheckValue())
}

func TestCreateNeverReplacesARing(t *testing.T) {
	r, path := create(t)
	_, err := keyring.Create(path)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, r.CheckValue(), open(t, path).CheckValue())
}

func TestOpenOrCreateMakesOneRingEvenWhenCalledAtOnce(t *testing.T) {
	ref := "file:" + filepath.Join(t.TempDir(), "data", "keyring")
	const n = 8
	checks, created, errs := make([]string, n), make([]bool, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var r *keyring.Ring
			if r, created[i], errs[i] = keyring.OpenOrCreate(ref); errs[i] == nil {
				checks[i] = r.CheckValue()
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	makers := 0
	for i := range n {
		require.Equal(t, checks[0], checks[i])
		if created[i] {
			makers++
		}
	}
	require.Equal(t, 1, makers)
}

func TestMACHoldsForItsPurposeAndFieldsOnly(t *testing.T) {
	r, _ := create(t)
	mac := r.MAC(keyring.Scan, "ab", "c")
	require.Regexp(t, `^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{43}$`, mac)
	require.NoError(t, r.Verify(keyring.Scan, mac, "ab", "c"))
	for name, fields := range map[string][]string{
		"boundary moved": {"a", "bc"}, "joined": {"abc"}, "added": {"ab", "c", ""}, "dropped": {"ab"}, "none": {}, "swapped": {"c", "ab"},
	} {
		require.ErrorIs(t, r.Verify(keyring.Scan, mac, fields...), keyring.ErrMAC, name)
	}
	require.ErrorIs(t, r.Verify(keyring.Cursor, mac, "ab", "c"), keyring.ErrMAC)
	other, _ := create(t)
	require.ErrorIs(t, other.Verify(keyring.Scan, mac, "ab", "c"), keyring.ErrMAC)
}

func TestMACsOfTheFixedRing(t *testing.T) { // a change here breaks every MAC and secret out there
	t.Setenv("RING", "mairust-keyring 1;k001 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 2026-01-01T00:00:00Z")
	r, err := keyring.Open("env:RING")
	require.NoError(t, err)
	require.Equal(t, goldenMAC, r.MAC(keyring.Scan, "field", "", "日本"))
	require.Equal(t, goldenCheck, r.CheckValue())
	plain, err := r.Unseal("test", goldenSealed)
	require.NoError(t, err)
	require.Equal(t, "a secret", string(plain))
}

func TestMalformedMACsAreRefused(t *testing.T) {
	r, _ := create(t)
	mac := r.MAC(keyring.Scan, "a")
	for _, bad := range []string{"", "v1", "v1..", "v2" + mac[2:], mac[:len(mac)-1], mac + "A", mac + "=", strings.ToUpper(mac), "v1.unknown" + mac[11:], mac + ".x", " " + mac} {
		require.ErrorIs(t, r.Verify(keyring.Scan, bad, "a"), keyring.ErrMAC, "%q", bad)
	}
}

func TestOldKeyVerifiesForSevenDaysAfterANewOne(t *testing.T) {
	r, path := create(t)
	now := time.Now().Add(time.Hour).Truncate(time.Second)
	clock := func() time.Time { return now }
	r.WithClock(clock)
	before, check := r.MAC(keyring.Scan, "a"), r.CheckValue()
	r = add(t, path, "new1", now).WithClock(clock)
	after := r.MAC(keyring.Scan, "a")
	require.NotEqual(t, before[:12], after[:12], "the new key is in use")
	require.Equal(t, check, r.CheckValue(), "the installation is the same")

	for _, ring := range []*keyring.Ring{r, open(t, path).WithClock(clock)} {
		require.NoError(t, ring.Verify(keyring.Scan, before, "a"))
		require.NoError(t, ring.Verify(keyring.Scan, after, "a"))
	}
	now = now.Add(keyring.VerifyFor - time.Nanosecond)
	require.NoError(t, r.Verify(keyring.Scan, before, "a"))
	now = now.Add(time.Nanosecond)
	require.ErrorIs(t, r.Verify(keyring.Scan, before, "a"), keyring.ErrMAC)
	now = now.Add(10 * 365 * 24 * time.Hour)
	require.NoError(t, r.Verify(keyring.Scan, after, "a"), "the newest key never ages")
}

func TestKeyOfTheFutureVerifiesButMakesNoMACs(t *testing.T) {
	const text = "mairust-keyring 1\n" +
		"old1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 2026-01-01T00:00:00Z\n" +
		"new1 /wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 2026-02-01T00:00:00Z\n"
	t.Setenv("RING", text)
	at := func(s string) *keyring.Ring {
		now, err := time.Parse(time.DateOnly, s)
		require.NoError(t, err)
		r, err := keyring.Open("env:RING")
		require.NoError(t, err)
		return r.WithClock(func() time.Time { return now })
	}
	january, february, march := at("2026-01-15"), at("2026-02-02"), at("2026-03-01")
	require.Contains(t, january.MAC(keyring.Scan), ".old1.")
	require.Contains(t, february.MAC(keyring.Scan), ".new1.")
	require.NoError(t, january.Verify(keyring.Scan, february.MAC(keyring.Scan)), "a node whose clock is behind")
	require.NoError(t, february.Verify(keyring.Scan, january.MAC(keyring.Scan)))
	require.ErrorIs(t, march.Verify(keyring.Scan, january.MAC(keyring.Scan)), keyring.ErrMAC)
	require.Contains(t, at("2025-01-01").MAC(keyring.Scan), ".old1.", "a clock before every key")
}

func TestSealedSecretsComeBackForEver(t *testing.T) {
	r, path := create(t)
	now := time.Now()
	r.WithClock(func() time.Time { return now })
	sealed, err := r.Seal("hook-secret", []byte("s3cret"))
	require.NoError(t, err)
	require.NotContains(t, sealed, "s3cret")
	twin, err := r.Seal("hook-secret", []byte("s3cret"))
	require.NoError(t, err)
	require.NotEqual(t, sealed, twin)
	for i := range 3 {
		now = now.Add(365 * 24 * time.Hour)
		r = add(t, path, fmt.Sprintf("new%d", i), now).WithClock(func() time.Time { return now })
	}
	for _, ring := range []*keyring.Ring{r, open(t, path)} {
		plain, err := ring.Unseal("hook-secret", sealed)
		require.NoError(t, err)
		require.Equal(t, "s3cret", string(plain))
	}
	empty, err := r.Seal("hook-secret", nil)
	require.NoError(t, err)
	plain, err := r.Unseal("hook-secret", empty)
	require.NoError(t, err)
	require.Empty(t, plain)
}

func TestChangedSealsAreRefused(t *testing.T) {
	r, _ := create(t)
	sealed, err := r.Seal("totp", []byte("seed"))
	require.NoError(t, err)
	_, err = r.Unseal("hook-secret", sealed)
	require.ErrorIs(t, err, keyring.ErrSeal)
	for i := range len(sealed) {
		changed := []byte(sealed)
		changed[i] ^= 1
		_, err := r.Unseal("totp", string(changed))
		require.ErrorIs(t, err, keyring.ErrSeal, "byte %d", i)
	}
	for _, bad := range []string{"", "s1..", "s1.x.AAAA", sealed[:20], r.MAC("totp", "seed")} {
		_, err := r.Unseal("totp", bad)
		require.ErrorIs(t, err, keyring.ErrSeal, "%q", bad)
	}
}

func TestARingHasABound(t *testing.T) {
	_, path := create(t)
	var r *keyring.Ring
	for i := range 255 {
		r = add(t, path, fmt.Sprintf("id%03d", i), time.Now().Add(time.Minute))
	}
	require.NoError(t, open(t, path).Verify(keyring.Scan, r.MAC(keyring.Scan)))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	line := bytes.LastIndexByte(bytes.TrimSpace(text), '\n')
	require.NoError(t, os.WriteFile(path, append(text, bytes.ReplaceAll(text[line+1:], []byte("id254"), []byte("id255"))...), 0o600))
	_, err = keyring.Open("file:" + path)
	require.ErrorContains(t, err, "more than 256 keys")
}

func TestRingFromTheEnvironmentIsTheSame(t *testing.T) {
	_, path := create(t)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	t.Setenv("RING", string(text))
	r, made, err := keyring.OpenOrCreate("env:RING")
	require.NoError(t, err)
	require.False(t, made)
	require.Equal(t, open(t, path).CheckValue(), r.CheckValue())
}

func TestFileThatOthersCanReadIsRefused(t *testing.T) {
	_, path := create(t)
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o601} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := keyring.Open("file:" + path)
		require.ErrorContains(t, err, "chmod 600 "+path)
	}
	require.NoError(t, os.Chmod(path, 0o400))
	open(t, path)
}

func TestBadReferencesAndFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	huge := filepath.Join(dir, "huge")
	require.NoError(t, os.WriteFile(huge, bytes.Repeat([]byte("#\n"), 40<<10), 0o600))
	for ref, want := range map[string]string{
		"": "file:PATH or env:NAME", "file:": "file:PATH or env:NAME", "env:": "file:PATH or env:NAME", "/etc/keyring": "file:PATH or env:NAME",
		"vault:x": "file:PATH or env:NAME", "env:NO_SUCH_RING": "NO_SUCH_RING", "file:" + dir: "not a regular file", "file:" + fifo: "not a regular file",
		"file:" + huge: "longer than", "file:" + dir + "/none": "no such file",
	} {
		_, err := keyring.Open(ref)
		require.ErrorContains(t, err, want, ref)
	}
	_, _, err := keyring.OpenOrCreate("env:NO_SUCH_RING")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestErrorsOfTheTextNameLinesAndQuoteNothing(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("secret!!"), 4))
	const head, at = "# comment\nmairust-keyring 1\n", " 2026-01-01T00:00:00Z\n"
	for name, c := range map[string]struct{ text, want string }{
		"no version":   {"abcd " + secret + at, `line 1: the first line must be "mairust-keyring 1"`},
		"new version":  {"mairust-keyring 2\n", "line 1"},
		"no key":       {head, "no key"},
		"two words":    {head + secret + at, "line 3: a key is three words"},
		"bad id":       {head + "ABCD " + secret + at, "line 3: a key id"},
		"dotted id":    {head + "ab.cd " + secret + at, "line 3: a key id"},
		"short secret": {head + "abcd " + secret[:40] + at, "line 3: a secret is 32 bytes"},
		"not base64":   {head + "abcd " + strings.Repeat("*", 44) + at, "line 3: a secret is 32 bytes"},
		"bad time":     {head + "abcd " + secret + " yesterday\n", "line 3: a time looks like"},
		"twice":        {head + "abcd " + secret + at + "abcd " + secret + at, "line 4: this key id was used before"},
		"out of order": {head + "abcd " + secret + at + "efgh " + secret + " 2025-01-01T00:00:00Z", "line 4: keys must be in order"},
	} {
		t.Setenv("RING", c.text)
		_, err := keyring.Open("env:RING")
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), secret[:12], name)
	}
}

func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	_, path := create(t)
	r := add(t, path, "new1", time.Now().Add(time.Minute))
	text, err := os.ReadFile(path)
	require.NoError(t, err)

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&out, verb+"\n", r)
		fmt.Fprintf(&out, verb+"\n", []any{r, struct{ R *keyring.Ring }{r}, struct{ r *keyring.Ring }{r}})
	}
	fmt.Fprintln(&out, fmt.Errorf("wrapped %v", r))
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("ring", "ring", r, "in", struct{ R *keyring.Ring }{r})
	}
	encoded, err := json.Marshal(map[string]any{"ring": r})
	require.NoError(t, err)
	out.Write(encoded)
	require.Contains(t, out.String(), "keyring(2 keys, current ")
	require.Contains(t, fmt.Sprint((*keyring.Ring)(nil), &keyring.Ring{}), "keyring(empty)")

	secrets := 0
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) != 3 || strings.HasPrefix(line, "#") {
			continue
		}
		secrets++
		raw, err := base64.StdEncoding.DecodeString(words[1])
		require.NoError(t, err)
		for _, form := range []string{words[1][:8], string(raw[:8]), hex.EncodeToString(raw[:8]), strings.Trim(fmt.Sprintf("%d", raw[:4]), "[]")} {
			require.NotContains(t, out.String(), form)
		}
	}
	require.Equal(t, 2, secrets)
}

func FuzzOpen(f *testing.F) {
	f.Add("mairust-keyring 1;k001 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 2026-01-01T00:00:00Z")
	f.Add("# text\n\nmairust-keyring 1\nk001 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 2026-01-01T09:00:00+09:00\n#\n")
	f.Add("mairust-keyring 1")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "keyring")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		r, err := keyring.Open("file:" + path)
		if err != nil {
			return
		}
		again := open(t, path)
		require.Equal(t, r.CheckValue(), again.CheckValue())
		require.NoError(t, again.Verify(keyring.Scan, r.MAC(keyring.Scan, text), text))
	})
}

func FuzzVerify(f *testing.F) {
	const ring = "mairust-keyring 1;k001 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= 2026-01-01T00:00:00Z"
	f.Add(goldenMAC, "field")
	f.Add(goldenSealed, "")
	f.Add("v1.k001.", "")
	f.Fuzz(func(t *testing.T, mac, field string) {
		t.Setenv("RING", ring)
		r, err := keyring.Open("env:RING")
		require.NoError(t, err)
		if r.Verify(keyring.Scan, mac, field) == nil {
			require.Equal(t, r.MAC(keyring.Scan, field), mac, "one form only")
		}
		if plain, err := r.Unseal("test", mac); err == nil {
			require.Equal(t, "a secret", string(plain))
		}
	})
}

func TestHashOutlivesANewKeyAndIsForItsPurpose(t *testing.T) {
	ring, path := create(t)
	hash := ring.Hash(keyring.Recipient)("bob@example.test")
	require.NotEqual(t, hash, ring.Hash(keyring.Recipient)("bob@example", ".test"))
	require.NotEqual(t, hash, ring.Hash(keyring.Cursor)("bob@example.test"))
	ring = add(t, path, "new1", time.Now())
	require.Contains(t, ring.MAC(keyring.Scan), ".new1.", "it is in use")
	require.Equal(t, hash, ring.Hash(keyring.Recipient)("bob@example.test"))
}
