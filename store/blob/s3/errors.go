package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/mairust/mairust/store/blob"
)

// code is S3's own name of an error, empty where the server gave none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status is that of the answer; 0 when there was none.
func status(err error) int {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// Codes of errors, as the S3 API reference lists them, and as MinIO and Ceph name theirs.
var (
	fullCodes = []string{"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage"}
	// passingCodes may go away by themselves, beside those that the SDK knows. What was sent came mutilated, or two wrote
	// at once.
	passingCodes = []string{
		"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody", "RequestTimeout", "SlowDown", "InternalError",
		"ConditionalRequestConflict", "OperationAborted",
	}
)

// explain adds the error that callers test for, and words where S3's own say too little.
func explain(err error) error {
	switch c := code(err); {
	case err == nil:
		return nil
	// A missing bucket, or a web server that knows nothing of S3, answers 404 too: only these are about the object.
	case c == "NoSuchKey", c == "NotFound" && status(err) == http.StatusNotFound:
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	case status(err) == http.StatusInsufficientStorage, slices.Contains(fullCodes, c):
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	}
	if more := words(err); more != "" {
		return fmt.Errorf("%s: %w", more, err)
	}
	return err
}

// isTaken says that a condition of the request was not met: the key is taken.
func isTaken(err error) bool { return status(err) == http.StatusPreconditionFailed }

// isUnsupported says that the server understood a request but does not do such things.
func isUnsupported(err error) bool {
	return status(err) == http.StatusNotImplemented || slices.Contains([]string{"NotImplemented", "MethodNotAllowed", "UnsupportedArgument", "InvalidRequest", "InvalidArgument"}, code(err))
}

// standard knows which errors pass: of connections, 5xx, and requests to slow down.
var standard = retry.NewStandard()

// mayPass says whether the same request may succeed later.
func mayPass(err error) bool {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errLied):
		return true
	}
	return standard.IsErrorRetryable(err) || slices.Contains(passingCodes, code(err)) || isConnection(err)
}

// isConnection says that no answer came.
func isConnection(err error) bool {
	var sending *smithyhttp.RequestSendError
	return errors.As(err, &sending)
}

// errLied says that the server's answer is not what was sent.
var errLied = errors.New("the server's answer does not fit what was sent")
