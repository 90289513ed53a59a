package imap

import (
	"context"
	"slices"
	"strings"

	"github.com/mairust/mairust/store"
)

// delimiter divides the levels of mailbox names.
const delimiter = "/"

// otherUsers is the namespace of mailboxes that are not the user's own (RFC 2342).
const otherUsers = "Other Users"

// maxFolders bounds what one user sees.
const maxFolders = 10_000

// box is a folder under the name that IMAP gives it, or a level above folders.
type box struct {
	name string
	// folder is nil for a level that is no folder.
	folder *store.MailboxFolder
	// use is its special use (RFC 6154), empty for none.
	use         string
	hasChildren bool
}

// specialUse by our folder names.
var specialUse = map[string]string{store.Archive: `\Archive`, store.Trash: `\Trash`, store.Quarantine: `\Junk`}

// boxes lists what the user sees, by name. The mailbox whose address is the login stands at the top level, else the first
// one; all others are under "Other Users/<address>/".
func (c *conn) boxes(ctx context.Context) ([]box, error) {
	folders, err := c.server.deps.Index.AccessibleFolders(ctx, c.scope, maxFolders)
	if err != nil {
		return nil, err
	}
	own := ownMailbox(folders, c.login)
	var list []box
	for i := range folders {
		f := &folders[i]
		b := box{name: f.Name, folder: f}
		if f.Mailbox == own {
			b.use = specialUse[f.Name]
		} else {
			b.name = otherUsers + delimiter + f.Address + delimiter + f.Name
		}
		list = append(list, b)
	}
	return withParents(list), nil
}

func ownMailbox(folders []store.MailboxFolder, login string) store.MailboxID {
	for _, f := range folders {
		if strings.EqualFold(f.Address, login) {
			return f.Mailbox
		}
	}
	if len(folders) == 0 {
		return ""
	}
	return folders[0].Mailbox
}

// withParents adds the levels that are no folders, sorts, and notes who has children.
func withParents(list []box) []box {
	named := map[string]bool{}
	for _, b := range list {
		named[b.name] = true
	}
	parents := map[string]bool{}
	for _, b := range slices.Clone(list) {
		for i := strings.LastIndex(b.name, delimiter); i > 0; i = strings.LastIndex(b.name[:i], delimiter) {
			parent := b.name[:i]
			parents[parent] = true
			if !named[parent] {
				named[parent] = true
				list = append(list, box{name: parent})
			}
		}
	}
	for i := range list {
		list[i].hasChildren = parents[list[i].name]
	}
	slices.SortFunc(list, func(a, b box) int {
		if (a.name == store.Inbox) != (b.name == store.Inbox) {
			if a.name == store.Inbox {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return list
}

// find gives the folder of a name. "INBOX" in any case at the end of a name means the folder.
func (c *conn) find(ctx context.Context, name string) (*box, error) {
	list, err := c.boxes(ctx)
	if err != nil {
		return nil, err
	}
	if prefix, last, ok := cutLast(name); ok && strings.EqualFold(last, store.Inbox) {
		name = prefix + delimiter + store.Inbox
	}
	for i := range list {
		if list[i].name == name && list[i].folder != nil {
			return &list[i], nil
		}
	}
	return nil, no("NONEXISTENT", "There is no such mailbox")
}

func cutLast(name string) (before, last string, ok bool) {
	i := strings.LastIndex(name, delimiter)
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// namespace says where whose mailboxes are (RFC 2342).
func (c *conn) namespace(_ context.Context, cmd *command) error {
	cmd.args.end()
	if cmd.args.err == nil {
		c.out.line(`* NAMESPACE (("" "/")) (("` + otherUsers + `/" "/")) NIL`)
	}
	return cmd.args.err
}

// subscribe succeeds for every folder there is: all of them are subscribed, always.
func (c *conn) subscribe(ctx context.Context, cmd *command) error {
	cmd.args.sp()
	name := cmd.args.mailbox()
	cmd.args.end()
	if cmd.args.err != nil {
		return cmd.args.err
	}
	_, err := c.find(ctx, name)
	return err
}
