package s3

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// keysFor is how long keys are used before they are looked up again.
const keysFor = time.Minute

// keys gives the SDK the keys of the options, and looks them up again from time to time.
type keys struct {
	o   Options
	log *slog.Logger

	mu         sync.Mutex
	id, secret string
}

// Retrieve goes on with the keys that it has while new ones cannot be had, as when a file is being written.
func (k *keys) Retrieve(context.Context) (aws.Credentials, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := aws.Credentials{Source: "configuration"}
	if k.o.Keys != nil {
		id, secret, err := k.o.Keys()
		switch {
		case err != nil:
			k.log.Warn("keys of the object store not read again; the ones before are used", "err", err)
		case id != k.id || secret != k.secret:
			k.log.Info("keys of the object store have changed")
			k.id, k.secret = id, secret
		}
		c.CanExpire, c.Expires = true, time.Now().Add(keysFor)
	}
	c.AccessKeyID, c.SecretAccessKey = k.id, k.secret
	return c, nil
}

// staleCodes say that the server does not take these keys, or not any more.
var staleCodes = []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}

// renew has keys that were refused looked up again before the next attempt; false where there can be no others.
func (b *Bucket) renew(err error) bool {
	cache, ok := b.credentials.(*aws.CredentialsCache)
	if !ok || b.o.AccessKeyID != "" && b.o.Keys == nil || !slices.Contains(staleCodes, code(err)) {
		return false
	}
	cache.Invalidate()
	return true
}
