package crypt_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

// What docs/encryption.md tells an operator to do when nothing is left but the objects and his key.
func TestRecoveryWithTheAgeProgramAlone(t *testing.T) {
	program := ageProgram(t)
	dir := t.TempDir()
	f, err := blob.NewFS(dir, blob.FSOptions{})
	require.NoError(t, err)
	r := newRig(t, f)
	long := strings.Repeat(message, 10_000)
	r.put(t, "t/m/old.eml", message)
	_, err = r.keys.Rotate(t.Context(), "t", nil)
	require.NoError(t, err)
	r.put(t, "t/m/new.eml", long)
	r.put(t, "t/m/empty.eml", "")
	require.NoError(t, f.Close())

	operatorKey := filepath.Join(t.TempDir(), "operator.key")
	require.NoError(t, os.WriteFile(operatorKey, []byte(operator.String()+"\n"), 0o600))
	tenantKeys := filepath.Join(t.TempDir(), "tenant.key")
	age := func(args ...string) string {
		out, err := exec.Command(program, args...).Output()
		require.NoError(t, err, args)
		return string(out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "t/keys/*.age"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	var keys string
	for _, file := range files {
		keys += age("-d", "-i", operatorKey, file)
	}
	require.NoError(t, os.WriteFile(tenantKeys, []byte(keys), 0o600))
	for name, want := range map[string]string{"old": message, "new": long, "empty": ""} {
		require.Equal(t, want, age("-d", "-i", tenantKeys, filepath.Join(dir, "t/m", name+".eml")), name)
	}
	require.Error(t, exec.Command(program, "-d", "-i", operatorKey, filepath.Join(dir, "t/m/old.eml")).Run(), "the operator's key alone opens no mail")
}

// The lines of docs/encryption.md that get back all of a tenant, as they stand there.
func TestRecoveryOfATenantAsTheDocumentSays(t *testing.T) {
	program := ageProgram(t)
	dir := t.TempDir()
	f, err := blob.NewFS(filepath.Join(dir, "mail"), blob.FSOptions{})
	require.NoError(t, err)
	r := newRig(t, f)
	long := strings.Repeat(message, 10_000)
	want := map[string]string{
		"t/m/old.eml": message, "t/m/empty.eml": "", "orphan/t/m/aside.eml": message, "t/m/new.eml": long,
		"t/m/plain.eml": "from before encryption", "orphan/t/m/plain.eml": "the same, aside",
	}
	put := func(key string) { r.put(t, key, want[key]) }
	put("t/m/old.eml")
	_, err = r.keys.Rotate(t.Context(), "t", nil)
	require.NoError(t, err)
	put("t/m/empty.eml")
	put("t/m/new.eml")
	put("orphan/t/m/aside.eml")
	for _, key := range []string{"t/m/plain.eml", "orphan/t/m/plain.eml"} {
		require.NoError(t, f.Put(t.Context(), key, strings.NewReader(want[key]), int64(len(want[key]))))
	}
	r.put(t, "u/m/other.eml", message)
	require.NoError(t, f.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "operator.key"), []byte(operator.String()+"\n"), 0o600))

	sh := exec.Command("sh", "-c", recoveryLines(t))
	sh.Dir, sh.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	said, err := sh.CombinedOutput()
	require.NoError(t, err, string(said))
	require.Empty(t, string(said))
	for key, content := range want {
		got, err := os.ReadFile(filepath.Join(dir, "out/mail", key))
		require.NoError(t, err, key)
		require.True(t, content == string(got), "%s: %d bytes instead of %d", key, len(got), len(content))
	}
	require.NoDirExists(t, filepath.Join(dir, "out/mail/u"))
}

// recoveryLines are the commands of the document, for the tenant t.
func recoveryLines(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/encryption.md")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "into one `tenant.key`:\n\n")
	require.True(t, found)
	var lines []string
	for line := range strings.Lines(after) {
		line, is := strings.CutPrefix(line, "    ")
		if !is {
			break
		}
		lines = append(lines, line)
	}
	require.NotEmpty(t, lines)
	return strings.ReplaceAll(strings.Join(lines, ""), "TENANT_ID", "t")
}

// ageVersion is that of go.mod.
const ageVersion = "v1.3.2"

// ageProgram is the age command: one that is installed, else the one of the library's own version.
func ageProgram(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("age"); err == nil {
		return path
	}
	path := filepath.Join(t.TempDir(), "age")
	build := exec.Command("go", "install", "filippo.io/age/cmd/age@"+ageVersion)
	build.Env = append(os.Environ(), "GOBIN="+filepath.Dir(path), "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no age program, and it cannot be built: %s", out)
		}
		t.Skipf("no age program, and it cannot be built: %s", out)
	}
	return path
}
