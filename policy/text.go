package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Text tells the explanation in lines of plain text; lang is "ja", and English for anything else. Each line ends
// with a line feed.
func (x *Explanation) Text(lang string) string {
	w := english
	if lang == "ja" {
		w = japanese
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(w["decision"], w.of(string(x.Action)), w.of(string(x.Before)), w.of(string(x.After)))
	if x.Would != "" {
		line(w["would"], w.of(string(x.Would)))
	}
	if x.Limit != nil {
		line(w["limit"], w.of(string(x.Limit.Reason)), x.Limit.Count, x.Limit.Max)
	} else if x.Reason != ReasonNone {
		line(w["reason"], w.of(string(x.Reason)))
	}
	line(w["score"], decimal(x.Score))
	for _, f := range x.Factors {
		line(w["factor"], w.of(f.Name), decimal(f.Value), decimal(f.Weight), decimal(f.Share))
		for _, e := range x.Evidence {
			if e.Factor == f.Name {
				line("    %s", e.text(w))
			}
		}
	}
	list := func(key string, words []string) {
		if len(words) > 0 {
			line(w[key], w.all(words))
		}
	}
	list("corroborators", x.Corroborators)
	list("unknown", x.Unknown)
	list("degraded", x.Degraded)
	if x.Country != "" {
		line(w["from"], x.Country)
	}
	if x.ColdStart {
		line("%s", w["cold_start"])
	}
	line(w["counts"], x.Messages.Hour, x.Messages.Day, x.Recipients.Hour, x.Recipients.Day, x.New.Hour, x.New.Day)
	return b.String()
}

func (e *Evidence) text(w words) string {
	raw, limit, usual := e.number(e.Raw), e.number(e.Limit), e.number(e.Usual)
	s := fmt.Sprintf("%s %s: %s %s", w.of(e.Name), decimal(e.Value), raw, w.of(e.Unit))
	if e.WindowSeconds > 0 {
		s += fmt.Sprintf(w["within"], (time.Duration(e.WindowSeconds) * time.Second).String())
	}
	if e.Limit > 0 {
		s += fmt.Sprintf(w["full_at"], limit)
	}
	if e.Usual > 0 {
		s += fmt.Sprintf(w["usual"], usual)
	}
	if e.Kind != "" {
		s += w["comma"] + w.of("new_"+e.Kind)
	}
	if len(e.Countries) > 0 {
		s += w["comma"] + strings.Join(e.Countries, w["comma"])
	}
	return s
}

// number writes a raw value in the evidence's unit.
func (e *Evidence) number(n int64) string {
	if e.Unit == "score" || e.Unit == "share" {
		return decimal(n)
	}
	return strconv.FormatInt(n, 10)
}

// decimal writes millionths with three digits, rounded down.
func decimal(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%03d", sign, n/Micro, n%Micro/1000)
}

// words are the texts of one language; those without a line of their own are told as they are.
type words map[string]string

func (w words) of(key string) string {
	if s, ok := w[key]; ok {
		return s
	}
	return key
}

func (w words) all(keys []string) string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = w.of(k)
	}
	return strings.Join(list, w["comma"])
}

var english = words{
	"decision":      "%s; level before: %s, after: %s",
	"would":         "in mode enforce it would have been: %s",
	"limit":         "limit: %s, %d of %d recipients",
	"reason":        "reason: %s",
	"score":         "score %s",
	"factor":        "  %s %s × %s = %s",
	"corroborators": "corroborated by: %s",
	"unknown":       "could not be judged: %s",
	"degraded":      "was missing: %s",
	"cold_start":    "there is too little history of this account to compare with",
	"counts":        "messages %d in an hour, %d in 24 hours; recipients %d and %d; new ones %d and %d",
	"from":          "sent from %s",
	"within":        " within %s",
	"full_at":       ", full evidence at %s",
	"usual":         ", usually at most %s",
	"comma":         ", ",

	"allow": "allowed", "refuse_rate": "refused for now (450)", "refuse_suspended": "refused, suspended (550)", "hold": "held in the queue",
	"soft_limit": "soft limit", "hard_limit": "suspended", "suspended": "the account is suspended",
	"domain_suspended": "the domain is suspended", "user_per_hour": "recipients of the account in an hour",
	"user_per_day":    "recipients of the account in 24 hours",
	"domain_per_hour": "recipients of the domain in an hour", "tenant_per_hour": "recipients of the tenant in an hour",
	"profile_max_rate": "max_rate of the bulk profile",
	"new":              "new recipients", "newlist": "share of new recipients", "invalid": "invalid recipients", "campaign": "same body to many",
	"persistence": "more recipients tried after the limit",
	"repeat":      "same campaign again", "url": "listed URL", "place": "new place", "hour": "unusual hour", "filter": "spam filter",
	"store": "shared state", "bounces": "bounces",
	"new_country": "first mail from this country", "new_network": "first mail from this network",
	"new_countries": "many countries at once", "new_networks": "many networks at once",
}

var japanese = words{
	"decision":      "%s(変更前: %s、変更後: %s)",
	"would":         "enforce モードでの判定: %s",
	"limit":         "上限: %s(%d 件、上限 %d 件)",
	"reason":        "理由: %s",
	"score":         "スコア %s",
	"factor":        "  %s %s × %s = %s",
	"corroborators": "裏付け: %s",
	"unknown":       "判定できなかったもの: %s",
	"degraded":      "取得できなかったもの: %s",
	"cold_start":    "このアカウントの履歴が少ないため、普段との比較はしていません",
	"counts":        "メール 1時間 %d 通・24時間 %d 通、宛先 %d 件・%d 件、新規宛先 %d 件・%d 件",
	"from":          "送信元の国 %s",
	"within":        "(%s 以内)",
	"full_at":       "、%s で最大",
	"usual":         "、普段の最大 %s",
	"comma":         "、",

	"rate": "送信量", "content": "内容", "history": "履歴",
	"allow": "許可", "refuse_rate": "一時拒否(450)", "refuse_suspended": "送信停止により拒否(550)", "hold": "キューで保留",
	"normal": "通常", "soft_limit": "ソフトリミット", "hard_limit": "送信停止", "suspended": "アカウントが送信停止中",
	"domain_suspended": "ドメインが送信停止中", "user_per_hour": "アカウントの1時間あたり宛先数", "user_per_day": "アカウントの24時間あたり宛先数",
	"domain_per_hour": "ドメインの1時間あたり宛先数", "tenant_per_hour": "テナントの1時間あたり宛先数", "profile_max_rate": "大量送信プロファイルの max_rate",
	"volume": "宛先の数", "new": "新規宛先", "newlist": "新規宛先の割合", "invalid": "存在しない宛先", "campaign": "同じ本文の多数送信", "persistence": "制限後に新たに試みた宛先", "spam": "スパム判定",
	"repeat": "解除後の同じ本文の再送信", "url": "危険なURL", "malware": "マルウェア", "place": "新しい場所", "strikes": "過去の違反", "hour": "普段と違う時間帯",
	"filter": "スパムフィルター", "store": "共有状態", "bounces": "バウンス",
	"new_country": "この国からは初めて", "new_network": "このネットワークからは初めて",
	"new_countries": "同時に多くの国から", "new_networks": "同時に多くのネットワークから",
	"recipients": "件", "share": "の割合", "breaches": "回", "places": "か所", "messages": "通",
}
