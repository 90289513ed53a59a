package blob_test

import (
	"testing"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
)

func TestMemory(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Bucket { return blob.NewMemory() })
}
