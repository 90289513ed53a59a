package policy_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
)

func TestStolenAccountIsSuspendedAfterAHandfulAndStaysSo(t *testing.T) {
	s := established(t, policy.Options{})
	s.place = abroad
	n := s.blast(policy.Content{SpamKnown: true, Fingerprint: 7}, 100)
	require.Less(t, n, 20)
	for s.last.Action != policy.RefuseSuspended && n < 30 { // it goes on after it was told to slow down
		s.now += minute
		if s.send(policy.Content{SpamKnown: true, Fingerprint: 7}, s.stranger()).Action == policy.Allow {
			n++
		}
	}
	require.Less(t, n, 25)
	require.Equal(t, policy.RefuseSuspended, s.last.Action)
	require.Equal(t, policy.HardLimit, s.s.Level())
	require.Contains(t, s.last.Explanation.Corroborators, "place")
	s.now += 90 * day
	require.Equal(t, policy.RefuseSuspended, s.mail().Action, "it never ends by itself")
	require.Equal(t, policy.ReasonSuspended, s.last.Reason)
	require.Equal(t, policy.Allow, s.decide(policy.Event{Kind: policy.KindRelease}).Action)
}

func TestSpamFromTheOwnOfficeIsStopped(t *testing.T) {
	s := established(t, policy.Options{})
	require.LessOrEqual(t, s.blast(content(9), 100), 20)
	require.GreaterOrEqual(t, s.evidence("spam").Value, int64(500_000))
}

func TestMailToTheUsualPeopleIsNeverLimited(t *testing.T) {
	s := established(t, policy.Options{})
	to := []uint64{}
	for i := range 60 {
		to = append(to, friend(i%8))
	}
	require.Equal(t, policy.Allow, s.send(policy.Content{Fingerprint: 3}, to...).Action)
	require.Equal(t, policy.Normal, s.s.Level())
}

func TestRecipientsAreReservedAndGivenBack(t *testing.T) {
	s := newSender(t, policy.Options{})
	hourly := func() int64 { return s.s.Totals(s.now).Recipients.Hour }
	s.mail()
	s.rcpt(friend(0))
	s.rcpt(friend(1))
	require.Equal(t, int64(2), hourly())
	require.Equal(t, int64(2), s.s.Totals(s.now).Reserved)
	s.release()
	require.Zero(t, hourly())

	s.mail()
	s.rcpt(friend(0))
	s.end(content(0), friend(0))
	require.Zero(t, s.s.Totals(s.now).Reserved)
	s.release() // Postfix aborts after success too
	require.Equal(t, int64(1), hourly(), "what was committed is not released")

	s.mail()
	s.rcpt(friend(1))
	s.now += 9 * minute
	require.Equal(t, int64(2), hourly())
	s.now += 2 * minute
	s.mail()
	require.Equal(t, int64(1), hourly(), "a reservation heals after ten minutes")
	s.end(content(0), friend(1), friend(2))
	require.Equal(t, int64(3), hourly(), "a message counts, reserved or not")

	s.mail()
	s.rcpt(friend(3))
	s.rcpt(friend(4))
	s.end(content(0), friend(3))
	require.Equal(t, int64(4), hourly(), "of a reservation only what the message has is kept")
}

func TestMoreTransactionsThanReservationsAreCountedOnce(t *testing.T) {
	s := newSender(t, policy.Options{Weights: policy.WeightOptions{History: 1}})
	for i := range 100 {
		s.tx = uint64(i + 1)
		s.rcpt(friend(i))
		s.now += second / 10
	}
	require.Equal(t, int64(100), s.s.Totals(s.now).Recipients.Hour)
	for i := range 100 {
		s.tx = uint64(i + 1)
		s.end(content(0), friend(i))
	}
	require.Equal(t, int64(100), s.s.Totals(s.now).Recipients.Hour)
	require.Zero(t, s.s.Totals(s.now).Reserved)
}

func TestPlainLimitsHoldBesideTheScore(t *testing.T) {
	// Weights that make no score: only the plain limits are left.
	o := policy.Options{Weights: policy.WeightOptions{History: 1}, Limits: policy.LimitOptions{UserPerHour: 30, UserPerDay: 50}}
	s := newSender(t, o)
	send := func() policy.Decision { return s.send(content(0), friend(1)) }
	for range 30 {
		require.Equal(t, policy.Allow, send().Action)
	}
	d := send()
	require.Equal(t, policy.RefuseRate, d.Action)
	require.Equal(t, policy.ReasonUserHour, d.Reason)
	require.Equal(t, &policy.Limit{Reason: policy.ReasonUserHour, Count: 31, Max: 30}, d.Explanation.Limit)
	require.Equal(t, policy.Normal, s.s.Level())
	s.now += 62 * minute
	for range 20 {
		require.Equal(t, policy.Allow, send().Action)
	}
	require.Equal(t, policy.ReasonUserDay, send().Reason)
	s.now += 25 * hour
	require.Equal(t, policy.Allow, send().Action)

	s.extra.Scope = policy.Scope{DomainHour: 4999}
	require.Equal(t, policy.Allow, send().Action)
	s.extra.Scope = policy.Scope{DomainHour: 5000}
	require.Equal(t, policy.ReasonDomainHour, send().Reason)
	s.extra.Scope = policy.Scope{TenantHour: 10_000}
	require.Equal(t, policy.ReasonTenantHour, send().Reason)
}

func TestBulkSenderIsFreeUpToItsRateAndStillSuspended(t *testing.T) {
	news := policy.Profile{ID: "news", Accounts: []string{"Tanaka@example.com"}, MaxRate: "1000 msgs/hour"}
	s := established(t, policy.Options{}, news)
	s.extra.Scope = policy.Scope{DomainHour: 1 << 20, TenantHour: 1 << 20}
	members := make([]uint64, 250)
	for i := range members {
		members[i] = friend(i % 8)
	}
	for range 4 {
		require.Equal(t, policy.Allow, s.send(policy.Content{Fingerprint: 5}, members...).Action)
	}
	require.Equal(t, policy.ReasonProfile, s.send(content(0), friend(0)).Reason)
	require.Equal(t, "news", s.last.Explanation.Profile)

	s.now += 2 * day
	s.place = abroad
	for range 60 {
		if s.blast(policy.Content{SpamKnown: true, Spam: 9_000_000, Fingerprint: 9}, 200); s.s.Level() == policy.HardLimit {
			break
		}
		s.now += minute
	}
	require.Equal(t, policy.HardLimit, s.s.Level())
	require.Less(t, s.s.Totals(s.now).Recipients.Hour, int64(60))
}

func TestWithoutCorroborationItIsASoftLimitAndANotice(t *testing.T) {
	attack := func(o policy.Options) (*sender, []policy.Notice) {
		s := established(t, o)
		var notices []policy.Notice
		// Soft limits off by their numbers, so that the score goes as high as it can.
		for range 300 {
			s.now += 2 * second
			s.send(policy.Content{SpamKnown: true, Fingerprint: 4}, s.stranger())
			if n := s.last.Notice; n != policy.NoticeNone {
				notices = append(notices, n)
			}
		}
		return s, notices
	}
	open := policy.SoftLimitOptions{PerHour: 1000, PerDay: 1000}
	soft := policy.ThresholdOptions{Soft: 0.5, Hard: 0.7, Corroboration: 0.5}
	s, notices := attack(policy.Options{SoftLimit: open, Thresholds: soft})
	require.Equal(t, policy.SoftLimit, s.s.Level())
	require.Equal(t, []policy.Notice{policy.NoticeSoftLimit, policy.NoticeUncorroborated}, notices)

	no := false
	s, notices = attack(policy.Options{SoftLimit: open, Thresholds: soft, RequireCorroboration: &no})
	require.Equal(t, policy.HardLimit, s.s.Level())
	require.Equal(t, policy.NoticeSuspended, notices[1])

	s, _ = attack(policy.Options{SoftLimit: open, Thresholds: soft, RequireCorroboration: &no, AutoSuspend: &no})
	require.Equal(t, policy.SoftLimit, s.s.Level())
}

func TestSoftLimitCapsAndEndsAfterCleanHours(t *testing.T) {
	s := established(t, policy.Options{})
	s.decide(policy.Event{Kind: policy.KindSetLevel, Level: policy.SoftLimit})
	sent := 0
	for i := range 30 {
		s.now += minute
		if s.send(content(0), friend(i%8)).Action == policy.Allow {
			sent++
		}
	}
	require.LessOrEqual(t, sent, 20)
	require.Equal(t, policy.RefuseRate, s.last.Action)
	require.Equal(t, policy.ReasonSoftLimit, s.last.Reason)
	s.now += 25 * hour
	require.Equal(t, policy.Allow, s.send(content(0), friend(0)).Action)
	require.Equal(t, policy.Normal, s.s.Level())
}

func TestSoftLimitIsHalfWhileTheFilterIsDown(t *testing.T) {
	for degraded, want := range map[policy.Degraded]int{0: 20, policy.NoFilter: 10, policy.NoStore: 10, policy.NoBounces: 20} {
		s := newSender(t, policy.Options{})
		s.decide(policy.Event{Kind: policy.KindSetLevel, Level: policy.SoftLimit})
		s.extra.Degraded = degraded
		sent := 0
		for range 30 {
			if s.send(policy.Content{}, friend(1)).Action == policy.Allow {
				sent++
			}
		}
		require.Equal(t, want, sent)
		require.NotEmpty(t, s.last.Explanation.Unknown)
	}
}

func TestHoldAcceptsIntoTheQueue(t *testing.T) {
	s := newSender(t, policy.Options{SoftLimit: policy.SoftLimitOptions{Action: policy.ActionHold, PerHour: 2}})
	s.decide(policy.Event{Kind: policy.KindSetLevel, Level: policy.SoftLimit})
	require.Equal(t, policy.Allow, s.send(content(0), friend(1), friend(2)).Action)
	require.Equal(t, policy.Hold, s.send(content(0), friend(1)).Action)
	require.Equal(t, policy.ReasonSoftLimit, s.last.Reason)
}

func TestModes(t *testing.T) {
	attack := func(m policy.Mode) *sender {
		s := established(t, policy.Options{Mode: m})
		s.place = abroad
		for range 40 {
			s.now += second
			s.send(content(9), s.stranger())
		}
		return s
	}
	s := attack(policy.Shadow)
	require.Equal(t, policy.Allow, s.last.Action)
	require.Equal(t, policy.RefuseSuspended, s.last.Would)
	require.True(t, s.last.Shadow)
	require.Equal(t, policy.Normal, s.last.After)
	require.Equal(t, policy.HardLimit, s.last.WouldLevel)
	require.Equal(t, int64(40), s.s.Totals(s.now).Messages.Hour)
	s.mode = policy.Enforce
	require.NotEqual(t, policy.RefuseSuspended, s.mail().Action, "what shadow decided does not come into force")

	s.mode = policy.Shadow
	s.decide(policy.Event{Kind: policy.KindStop})
	require.Equal(t, policy.RefuseSuspended, s.mail().Action, "a stop by hand holds in shadow")
	require.Equal(t, policy.RefuseSuspended, s.send(content(0), friend(0)).Action)
	s.mode = policy.Off
	require.Equal(t, policy.Allow, s.send(content(0), friend(0)).Action, "and not when all is off")

	s = attack(policy.Off)
	require.Equal(t, policy.Allow, s.last.Would)
	require.Equal(t, policy.Normal, s.s.Level())
}

func TestModeOfAnAccountCountsBeforeThatOfItsTenant(t *testing.T) {
	p := compile(t, policy.Options{Mode: policy.Shadow, Modes: []policy.ModeOptions{
		{Tenant: "acme", Mode: policy.Enforce}, {Account: "boss@acme.example", Mode: policy.Off},
	}})
	require.Equal(t, policy.Shadow, p.Mode("other", "x@other.example"))
	require.Equal(t, policy.Enforce, p.Mode("acme", "x@acme.example"))
	require.Equal(t, policy.Off, p.Mode("acme", "boss@acme.example"))
}

func TestStopOfTheDomainHolds(t *testing.T) {
	s := established(t, policy.Options{Mode: policy.Shadow})
	s.extra.Scope = policy.Scope{DomainStopped: true}
	require.Equal(t, policy.RefuseSuspended, s.mail().Action)
	require.Equal(t, policy.ReasonDomainSuspended, s.last.Reason)
	require.Equal(t, policy.RefuseSuspended, s.rcpt(friend(1)).Action)
	require.Equal(t, policy.RefuseSuspended, s.end(content(0), friend(1)).Action)
	require.Zero(t, s.s.Totals(s.now).Recipients.Hour)
}

func TestReleaseForgivesOnce(t *testing.T) {
	campaign := policy.Content{SpamKnown: true, Fingerprint: 77}
	s := established(t, policy.Options{})
	s.place = abroad
	for s.s.Level() != policy.HardLimit {
		s.now += minute / 2
		s.send(campaign, s.stranger())
	}
	require.Equal(t, policy.SoftLimit, s.decide(policy.Event{Kind: policy.KindReenable, Cap: 100}).After)
	s.place = office
	s.now += minute
	for i := range 7 {
		require.Equal(t, policy.Allow, s.send(content(0), friend(i)).Action, "other mail flows")
	}
	for i := range 60 {
		if s.s.Level() == policy.HardLimit {
			require.Less(t, i, 25)
			break
		}
		s.now += second
		s.send(campaign, s.stranger())
	}
	require.Equal(t, policy.HardLimit, s.s.Level(), "the same campaign suspends again, from home too")
	require.Contains(t, s.last.Explanation.Corroborators, "repeat")
}

func TestSuspensionEndsByTimeOnlyWhereThatIsWanted(t *testing.T) {
	s := established(t, policy.Options{AutoReenableAfterHours: 24})
	s.decide(policy.Event{Kind: policy.KindSetLevel, Level: policy.HardLimit})
	s.now += 23 * hour
	require.Equal(t, policy.RefuseSuspended, s.mail().Action)
	s.now += 2 * hour
	require.Equal(t, policy.Allow, s.mail().Action)
	require.Equal(t, policy.NoticeReenabled, s.last.Notice)
	require.Equal(t, policy.SoftLimit, s.s.Level())

	s.decide(policy.Event{Kind: policy.KindStop})
	s.now += 48 * hour
	require.Equal(t, policy.RefuseSuspended, s.mail().Action, "a stop by hand has its own end")
	s.decide(policy.Event{Kind: policy.KindStop, UntilUS: s.now + hour})
	s.now += 2 * hour
	require.Equal(t, policy.Allow, s.mail().Action)
}

func TestALimitLastsAsLongAsItWasGiven(t *testing.T) {
	for name, e := range map[string]policy.Event{
		"limit":     {Kind: policy.KindSetLevel, Level: policy.SoftLimit},
		"probation": {Kind: policy.KindReenable, Level: policy.SoftLimit},
	} {
		for _, hours := range []int64{2, 72} {
			s := established(t, policy.Options{})
			e.UntilUS = s.now + hours*hour
			s.decide(e)
			s.now = e.UntilUS - minute
			s.mail()
			require.Equal(t, policy.SoftLimit, s.s.Level(), "%s of %d hours", name, hours)
			s.now = e.UntilUS
			s.mail()
			require.Equal(t, policy.Normal, s.s.Level(), "%s of %d hours", name, hours)
			require.Equal(t, policy.NoticeNormal, s.last.Notice)
		}
	}
}

func TestInvalidRecipientsCountOnceAndOnlyUnknownAddresses(t *testing.T) {
	s := established(t, policy.Options{})
	bounce := func(to uint64, dsn string) {
		s.decide(policy.Event{Kind: policy.KindBounce, Recipients: []uint64{to}, DSN: dsn})
	}
	bounce(friend(1), "4.1.1")
	bounce(friend(1), "5.2.2")
	bounce(friend(1), "")
	require.Zero(t, s.s.Totals(s.now).Invalid.Hour)
	for range 10 {
		bounce(friend(1), "5.1.1")
	}
	require.Equal(t, int64(1), s.s.Totals(s.now).Invalid.Hour)
	s.decide(policy.Event{Kind: policy.KindRefused, Recipients: []uint64{friend(2)}, DSN: "5.1.10"})
	require.Equal(t, int64(2), s.s.Totals(s.now).Invalid.Hour)
	require.Equal(t, policy.Allow, s.send(content(0), friend(3)).Action, "two typing errors limit nobody")
	require.Positive(t, s.evidence("invalid").Value)
}

func TestFloodDoesNotMakeItselfUsual(t *testing.T) {
	s := established(t, policy.Options{})
	before := s.s.Totals(s.now).UsualHour
	for range 30 {
		s.now += minute
		s.send(content(0), s.stranger())
	}
	require.Equal(t, before, s.s.Totals(s.now).UsualHour)
}

func TestTemplateIsNoCampaign(t *testing.T) {
	order := policy.Content{SpamKnown: true, Fingerprint: 123}
	s := newSender(t, policy.Options{})
	for range 6 * 24 {
		s.send(order, s.stranger())
		s.now += hour
	}
	for range 12 {
		s.send(order, s.stranger())
	}
	require.Zero(t, s.evidence("campaign").Value)
	for range 12 {
		s.send(policy.Content{Fingerprint: 124}, s.stranger())
	}
	require.Positive(t, s.evidence("campaign").Value+s.evidence("newlist").Value)
}

func TestFirstMailIsColdAndNothingIsInvented(t *testing.T) {
	s := newSender(t, policy.Options{})
	d := s.send(content(0), friend(1))
	require.Equal(t, policy.Allow, d.Action)
	require.True(t, d.Explanation.ColdStart)
	require.Contains(t, d.Explanation.Unknown, "place")
	require.Empty(t, d.Explanation.Evidence)
	require.Equal(t, "cold", d.Explanation.Trust)
}

func TestManyCountriesAreEvidence(t *testing.T) {
	s := established(t, policy.Options{})
	for i, c := range []string{"NG", "BR", "RU"} {
		s.place = policy.Place{Country: c, Network: uint64(100 + i)}
		s.send(content(0), friend(1))
		s.now += minute
	}
	require.Equal(t, int64(policy.Micro), s.evidence("place").Value)
}

func TestExplanationsRenderInBothLanguages(t *testing.T) {
	s := established(t, policy.Options{})
	s.place = abroad
	for range 30 {
		s.now += second
		s.send(policy.Content{Spam: 9_000_000, SpamKnown: true, Malware: true, ListedURL: true, Fingerprint: 5}, s.stranger())
	}
	s.extra.Degraded = policy.NoFilter | policy.NoBounces
	s.mail()
	en, ja := s.last.Explanation.Text("en"), s.last.Explanation.Text("ja")
	require.Contains(t, en, "refused, suspended (550)")
	require.Contains(t, ja, "送信停止")
	for _, text := range []string{en, ja} {
		require.NotContains(t, text, "%!")
		require.False(t, slices.Contains([]byte(text), 0))
	}
	for _, word := range []string{"spam", "place", "volume", "normal", "hard_limit", "share", "score"} {
		require.NotContains(t, ja, word)
	}
}

func TestShadowDoesNotReplaceWhatAPersonSet(t *testing.T) {
	s := established(t, policy.Options{Mode: policy.Shadow})
	s.decide(policy.Event{Kind: policy.KindSetLevel, Level: policy.SoftLimit, Cap: 5})
	s.place = abroad
	left := s.blast(content(9), 30)
	require.Equal(t, 5, left)
	require.Equal(t, policy.RefuseRate, s.last.Action)
	require.Equal(t, policy.SoftLimit, s.last.After)
}

func TestExplanationIsSmall(t *testing.T) {
	s := established(t, policy.Options{})
	text, err := json.Marshal(s.last.Explanation)
	require.NoError(t, err)
	require.Less(t, len(text), 800)
	s.place = abroad
	for range 30 {
		s.now += second
		s.send(policy.Content{Spam: 9_000_000, SpamKnown: true, ListedURL: true, Fingerprint: 5}, s.stranger())
	}
	text, err = json.Marshal(s.last.Explanation)
	require.NoError(t, err)
	t.Logf("%s", text)
	require.Less(t, len(text), 2000)
}
