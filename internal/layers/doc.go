// Package layers holds the project's shape by tests: which package may import which, and that each direct
// dependency has its line in docs/dependencies.md. It has no code of its own.
package layers
