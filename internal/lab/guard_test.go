package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
)

// victimEnv makes this test program start services and wait to be killed.
const victimEnv = "LAB_TEST_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		victim()
		return
	}
	os.Exit(m.Run())
}

// victim starts one of each that can be had here, says where, and never ends by itself.
func victim() {
	ctx := context.Background()
	if pf, err := lab.StartPostfix(ctx, lab.PostfixOptions{}); err == nil {
		fmt.Println("started", pf.Dir, pf.SMTPAddr)
	}
	if pg, err := lab.StartPostgres(ctx, lab.PostgresOptions{}); err == nil {
		fmt.Println("started", pg.Dir(), pg.Addr())
	}
	if rd, err := lab.StartRedis(ctx); err == nil {
		fmt.Println("started", rd.Dir(), rd.Addr)
	}
	if rs, err := lab.StartRspamd(ctx, lab.RspamdOptions{}); err == nil {
		fmt.Println("started", rs.Dir(), rs.Addr)
	}
	fmt.Println("ready")
	select {}
}

func TestNothingIsLeftWhenTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	var dirs, addrs []string
	for s := bufio.NewScanner(out); s.Scan() && s.Text() != "ready"; {
		f := strings.Fields(s.Text())
		dirs, addrs = append(dirs, f[1]), append(addrs, f[2])
		require.DirExists(t, f[1])
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait(), "it was killed")

	for i, dir := range dirs {
		require.NoError(t, lab.Eventually(ctx, func(context.Context) error {
			if c, err := net.Dial("tcp", addrs[i]); err == nil {
				return fmt.Errorf("%s still answers on %s", dir, c.RemoteAddr())
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				return fmt.Errorf("%s is still there", dir)
			}
			return nil
		}))
	}
}
