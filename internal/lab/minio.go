package lab

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"
)

// MinIO is a private S3 server with one bucket, which encrypts as SSE-S3 and SSE-KMS ask it to.
type MinIO struct {
	// Addr is host:port on loopback.
	Addr string
	// Bucket is there already.
	Bucket string
	// User and Password are its access key id and secret access key.
	User, Password string
	// KMSKey is the name of its only key.
	KMSKey string

	inst    *instance
	program string
	kms     bool
}

// MinIODomain is where each bucket has a name of its own, for requests that are not path style. Nothing resolves it: the
// server is its own proxy (HTTP_PROXY).
const MinIODomain = "s3.lab.test"

// MinIOOptions choose how a MinIO is run.
type MinIOOptions struct {
	// Dir is where its directory is made; "" is the usual place.
	Dir string
	// WithoutKMS makes a server that can encrypt nothing.
	WithoutKMS bool
}

// StartMinIO starts a MinIO server. Errors: ErrMissing (tools/install-services.sh builds it).
func StartMinIO(ctx context.Context, o MinIOOptions) (*MinIO, error) {
	program, err := findProgram("minio", "none: tools/install-services.sh builds it")
	if err != nil {
		return nil, err
	}
	as, err := serviceAccount("nobody")
	if err != nil {
		return nil, err
	}
	var m *MinIO
	err = retry(ctx, "minio", func(ctx context.Context) error {
		port, err := freePort()
		if err != nil {
			return err
		}
		inst, err := newInstance(o.Dir, "mi", "KILL", as)
		if err != nil {
			return err
		}
		m = &MinIO{
			Addr: loopback(port), Bucket: "mail", User: "mairust", Password: "a-secret-of-the-lab", KMSKey: "lab",
			inst: inst, program: program, kms: !o.WithoutKMS,
		}
		// A folder of a drive is a bucket.
		err = os.MkdirAll(inst.path("data", m.Bucket), 0o700)
		if err == nil {
			err = as.own(inst.dir)
		}
		if err == nil {
			err = m.Start(ctx)
		}
		return closeAfter(err, m)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Dir is the instance's directory.
func (m *MinIO) Dir() string { return m.inst.dir }

// URL is the endpoint.
func (m *MinIO) URL() string { return "http://" + m.Addr }

// Start brings a stopped server back on the same port, with its objects.
func (m *MinIO) Start(ctx context.Context) error {
	args := []string{
		"HOME=" + m.inst.dir, "CI=true", "MINIO_ROOT_USER=" + m.User, "MINIO_ROOT_PASSWORD=" + m.Password,
		"MINIO_UPDATE=off", "MINIO_BROWSER=off", "MINIO_API_ODIRECT=off", "MINIO_DOMAIN=" + MinIODomain,
	}
	if m.kms {
		key := base64.StdEncoding.EncodeToString([]byte("a key of the lab with 32 bytes !"))
		args = append(args, "MINIO_KMS_SECRET_KEY="+m.KMSKey+":"+key)
	}
	args = append(args, m.program, "server", "--quiet", "--address", m.Addr, m.inst.path("data"))
	return m.inst.run(ctx, m.ping, "/usr/bin/env", args...)
}

// Stop takes the server away at once; its objects stay.
func (m *MinIO) Stop() { m.inst.stop(syscall.SIGKILL) }

// Freeze stops the server's answers until Thaw: connections are taken, and nothing comes.
func (m *MinIO) Freeze() error { return signalWithin(m.inst.dir, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (m *MinIO) Thaw() error { return signalWithin(m.inst.dir, syscall.SIGCONT) }

// Close stops the server and removes what it left.
func (m *MinIO) Close() error { return m.inst.close(syscall.SIGKILL) }

func (m *MinIO) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL()+"/minio/health/ready", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping: %s", resp.Status)
	}
	return nil
}
