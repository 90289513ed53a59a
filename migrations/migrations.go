// Package migrations holds the schema as SQL, one folder per dialect, embedded in the binary. Both folders
// define the same tables and columns (held by a test); they differ in types and collation only.
//
// Files are forward only and numbered; a file that has been released is never edited. The previous binary
// must keep working on the new schema, so that nodes can be upgraded one by one.
package migrations

import "embed"

// FS has the folders "sqlite" and "postgres".
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
