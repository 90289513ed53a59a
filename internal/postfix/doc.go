// Package postfix wires an existing Postfix to MaiRust and takes the wires out again.
//
// It reads through Postfix's own commands (postconf, postmap), edits main.cf and master.cf as text so that nothing
// but its own settings changes, and remembers what it wrote:
//
//	Find → Host.Undo (the files without our settings) → Host.Read → Make (a Plan) → Host.Apply, Host.Revert
//
// It knows nothing of MaiRust's configuration and store: addresses and answers are given to it.
package postfix
