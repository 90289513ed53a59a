package postfix

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Reach gives the address under which Postfix's daemons find a listener: inet addresses as they are, sockets below
// the queue directory by their path from there, which holds within a chroot and without one. The error explains what
// keeps Postfix away.
func (s *Site) Reach(address string) (string, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		if !isLiteral(address) && len(s.chrooted()) > 0 {
			return "", fmt.Errorf("%s has a host name, and Postfix's chrooted daemons may not be able to look it up: use an IP address", address)
		}
		return address, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("listener %s: %w", address, err)
	}
	queue := s.Value("queue_directory")
	if below, err := filepath.Rel(queue, path); err == nil && !strings.HasPrefix(below, "..") {
		return "unix:" + below, s.mayConnect(path)
	}
	if names := s.chrooted(); len(names) > 0 {
		return "", fmt.Errorf("%s run chrooted in %s (column 5 of master.cf) and cannot reach %s: in MaiRust's configuration use "+
			`{address: "unix:%s/mairust/%s", socket_group: postfix, socket_mode: "0660"}, or an inet address`,
			strings.Join(names, ", "), queue, path, queue, filepath.Base(path))
	}
	return "unix:" + path, s.mayConnect(path)
}

// chrooted are the commands that talk to MaiRust and run chrooted.
func (s *Site) chrooted() []string {
	var names []string
	for _, v := range s.Master.Services() {
		switch v.Command {
		case "smtpd", "lmtp", "cleanup":
			if s.Chrooted(v) {
				names = append(without(names, []string{v.Command}), v.Command)
			}
		}
	}
	return names
}

// mayConnect says why the user of Postfix's daemons cannot connect to a socket. One that does not exist is fine: the
// daemon makes it when it starts.
func (s *Site) mayConnect(path string) error {
	owner := s.Value("mail_owner")
	u, err := user.Lookup(owner)
	if err != nil {
		return fmt.Errorf("mail_owner: %w", err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return fmt.Errorf("mail_owner: %w", err)
	}
	for at, want := path, fs.FileMode(6); ; at, want = filepath.Dir(at), 1 {
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("socket %s: %w", path, err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !allows(info.Mode(), st, uint32(uid), uint32(gid), want) {
			return fmt.Errorf("the user %s cannot use %s (mode %04o): set socket_group: %s and socket_mode: \"0660\" for the listener, "+
				"and let %s pass through the directories above", owner, at, info.Mode().Perm(), owner, owner)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// allows is the kernel's rule: owner, else group, else others.
func allows(mode fs.FileMode, st *syscall.Stat_t, uid, gid uint32, want fs.FileMode) bool {
	switch {
	case st.Uid == uid:
		mode >>= 6
	case st.Gid == gid:
		mode >>= 3
	}
	return mode&want == want
}
