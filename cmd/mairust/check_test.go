package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

func TestCheckWarnsOfDataThatIsElsewhereTomorrow(t *testing.T) {
	for dir, warns := range map[string]bool{"./mairust-data": true, "mail": true, "/var/lib/mairust": false} {
		var b strings.Builder
		r := &checkReport{w: &b}
		r.dataDir(&config.Config{DataDir: dir})
		require.Equal(t, warns, strings.HasPrefix(b.String(), "WARN  data_dir"), b.String())
		require.False(t, r.failed)
	}
}

func TestCheckSaysWhyAnAddressCannotBeHad(t *testing.T) {
	bind := func(errno syscall.Errno) error {
		return fmt.Errorf("listen: %w", &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)})
	}
	require.Contains(t, listenerMend(bind(syscall.EACCES)), "CAP_NET_BIND_SERVICE")
	require.Contains(t, listenerMend(bind(syscall.EADDRINUSE)), "stop what has the address")
}
