package s3

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	wordsRegion  = "the bucket is in another region: set region to "
	wordsDenied  = "the keys may not do this: docs/s3.md lists what they need"
	wordsExpired = "the keys have expired: give new ones"
)

// wordsOf says in an operator's words what S3's codes mean, with the keys of the configuration.
var wordsOf = map[string]string{
	"EntityTooSmall":        "this server takes no part of an upload below 5 MiB, but for the last one: raise multipart_chunk_mb to 5 or more",
	"NoSuchBucket":          "there is no such bucket: was it renamed or removed? look at bucket, endpoint and region",
	"InvalidBucketName":     "no bucket can have this name: look at bucket",
	"InvalidAccessKeyId":    "the server does not know the key: look at access_key_id and endpoint",
	"SignatureDoesNotMatch": "the secret is not that of the key: look at secret_access_key",
	"ExpiredToken":          wordsExpired,
	"InvalidToken":          wordsExpired,
	"TokenRefreshRequired":  wordsExpired,
	"AccessDenied":          wordsDenied,
	"Forbidden":             wordsDenied,
	"RequestTimeTooSkewed":  "the clock of this machine and that of the server differ by more than 15 minutes: set both by NTP",
}

// words are empty where S3's own are enough.
func words(err error) string {
	if isElsewhere(err) {
		return wordsRegion + cmp.Or(regionOf(err), "its own")
	}
	return wordsOf[code(err)]
}

// isElsewhere says that another server has the bucket, or wants another region in the signature.
func isElsewhere(err error) bool {
	return slices.Contains([]int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}, status(err)) ||
		slices.Contains([]string{"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}, code(err))
}

// regionOf is the bucket's region where the answer tells it, as AWS does.
func regionOf(err error) string {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return ""
	}
	return answer.Response.Header.Get("X-Amz-Bucket-Region")
}
