package policy_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
)

func TestALevelOfAnotherEngineHoldsInEnforceOnly(t *testing.T) {
	for _, level := range []policy.Level{policy.SoftLimit, policy.HardLimit} {
		s := established(t, policy.Options{})
		s.mode = policy.Shadow
		require.Equal(t, policy.Normal, s.decide(policy.Event{Kind: policy.KindLearnLevel, Level: level, SinceUS: s.now - hour}).After)
		require.False(t, s.s.ByHand())
		s.mode = policy.Enforce
		require.Equal(t, level, s.mail().After, "it was not decided in shadow")
	}
}

func TestALimitOfAnotherEngineEndsWhenThatOneSays(t *testing.T) {
	s := established(t, policy.Options{})
	limit := policy.Event{Kind: policy.KindLearnLevel, Level: policy.SoftLimit, SinceUS: s.now - 20*hour}
	require.Equal(t, policy.SoftLimit, s.decide(limit).After)
	s.now += 4*hour - second
	require.Equal(t, policy.SoftLimit, s.mail().After)
	s.now += second
	require.Equal(t, policy.Normal, s.mail().After)

	limit.SinceUS = s.now + hour
	s.decide(limit)
	require.Equal(t, s.now, s.s.SinceUS(), "its clock is fast")
	s.now += 24 * hour
	require.Equal(t, policy.Normal, s.mail().After)
}

func TestAStateTakesTheLevelOfAnotherAsItIs(t *testing.T) {
	for name, e := range map[string]policy.Event{
		"stop":      {Kind: policy.KindStop, UntilUS: monday + 900*day},
		"limit":     {Kind: policy.KindSetLevel, Level: policy.SoftLimit, Cap: 7, UntilUS: monday + 900*day},
		"probation": {Kind: policy.KindReenable, Level: policy.SoftLimit, Cap: 7, UntilUS: monday + 900*day},
		"automatic": {Kind: policy.KindLearnLevel, Level: policy.HardLimit, SinceUS: monday},
	} {
		from, to := established(t, policy.Options{}), newSender(t, policy.Options{})
		from.decide(e)
		to.now = from.now
		to.decide(from.s.LevelEvent())
		require.Equal(t, from.s.Level(), to.s.Level(), name)
		require.Equal(t, from.s.ByHand(), to.s.ByHand(), name)
		require.Equal(t, from.s.LevelEvent(), to.s.LevelEvent(), name)
	}
}

// recordsOfVersion1 are mail, rcpt, end, set_level, mail and release, as they were written before SinceUS.
const recordsOfVersion1 = "0101808884b7d3a0850308323839346336323800000100010001000000000000000000024a5001000000808080808080808001000000000000000000000000000000000000" +
	"0102808884b7d3a085030832383934633632380000010002000100000000000000018a142b3a9738d2db00024a5001000000808080808080808001000000000000000000000000000000000000" +
	"0103808884b7d3a085030832383934633632380000010004000100000000000000018a142b3a9738d2db00024a5001000000e0c6db808080808001010000000000000000000000000000000000" +
	"0104808884b7d3a0850308323839346336323800000200090001000000000000000000024a50010000008080808080808080010000000000000000000000000280d0d2ebe0a0850307000000" +
	"0105808884b7d3a0850308323839346336323800000200010002000000000000000000024a5001000000808080808080808001000000000000000000000000000000000000" +
	"0106808884b7d3a0850308323839346336323800000200050002000000000000000000024a5001000000808080808080808001000000000000000000000000000000000000"

func TestRecordsOfVersion1AreReplayed(t *testing.T) {
	blob, err := hex.DecodeString(recordsOfVersion1)
	require.NoError(t, err)
	records, err := policy.ParseRecords(blob)
	require.NoError(t, err)
	require.Len(t, records, 6)
	l := policy.Log{Account: "tanaka@example.com", Tenant: "acme", Records: records}
	var end policy.State
	for st := range l.Replay(compile(t, policy.Options{}), &end) {
		require.True(t, st.Same, "record %d", st.Record.Seq)
	}
	require.True(t, end.ByHand())
	require.Equal(t, policy.SoftLimit, end.Level())
}
