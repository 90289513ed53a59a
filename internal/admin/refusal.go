package admin

import "fmt"

// Refused is an error about what was asked, with a sentence for whoever asked. Its code stays the same, whatever the sentence
// says.
type Refused struct {
	Code string
	args []any
}

// Error is the sentence in English.
func (e *Refused) Error() string { return e.In("en") }

// In is the sentence in a language: "ja", or English for any other.
func (e *Refused) In(language string) string {
	sentence := sentences[e.Code]
	if language == "ja" {
		return fmt.Sprintf(sentence[1], e.args...)
	}
	return fmt.Sprintf(sentence[0], e.args...)
}

// refuse makes an error of a code of sentences, with what its sentence has places for.
func refuse(code string, args ...any) error { return &Refused{Code: code, args: args} }

// The codes that more than one act refuses with.
const (
	noTenant        = "no_such_tenant"
	notADomain      = "not_a_domain"
	notLimited      = "not_limited"
	operatorStopped = "stopped_by_operator"
)

// sentences are what each code says, in English and Japanese, with the same places in both.
var sentences = map[string][2]string{
	"key_without_tenant": {"a %s key belongs to no tenant: leave the tenant out", "%s のキーはテナントに属しません。テナントを指定しないでください。"},
	"key_needs_tenant":   {"a key of the role %s needs a tenant", "ロール %s のキーにはテナントの指定が必要です。"},
	noTenant:             {"there is no tenant %q", "テナント %q はありません。"},
	"which_tenant":       {"say which tenant: you see all of them", "テナントを指定してください（すべてのテナントを閲覧できる権限のため）。"},
	"bounce_report":      {"%v", "不達の報告を受け取れません: %v"},
	"no_such_user":       {"there is no user %q", "ユーザー %q はいません。"},
	"user_disabled":      {"the user %s is disabled", "ユーザー %s は無効です。"},

	"account_name": {
		"an account is a login with its domain, or a client address: 1 to %d bytes without blanks",
		"アカウントは、ドメイン付きのログイン名またはクライアントのアドレスです（空白なしの 1～%d バイト）。",
	},
	"reason":          {"say why: the reason is kept on record", "理由を入力してください。理由は記録に残ります。"},
	"hours":           {"hours are 0 to %d", "時間は 0～%d で指定してください。"},
	"columns":         {"the time must have 1 to %d columns of %s", "期間は %[2]s 単位で 1～%[1]d 区間にしてください。"},
	"cap_alone":       {"a cap needs a probation: give its hours too", "上限を設けるには、経過観察の時間も指定してください。"},
	notLimited:        {"%s is neither stopped nor limited", "%s は停止も制限もされていません。"},
	"mode_word":       {"a mode is off, shadow, enforce or default", "モードは off、shadow、enforce、default のいずれかです。"},
	"mode_off":        {"only operators of the installation can set the mode off: shadow judges without refusing", "モードを off にできるのはシステム管理者だけです。shadow なら、拒否せずに判定だけを行います。"},
	operatorStopped:   {"%s was stopped by an operator of the installation: only they can change that", "%s はシステム管理者が停止しました。変更できるのはシステム管理者だけです。"},
	notADomain:        {"%q is not a domain name", "%q はドメイン名ではありません。"},
	"not_an_ip":       {"%q is not an IP address", "%q は IP アドレスではありません。"},
	"trial_rcpt":      {"name 1 to 1000 recipients", "宛先は 1～1000 件で指定してください。"},
	"trial_size":      {"the message must have 1 byte to %d MiB", "メッセージは 1 バイト～%d MiB にしてください。"},
	"profile_foreign": {"%s is no account of this tenant", "%s はこのテナントのアカウントではありません。"},
	"profile_empty":   {"name at least one account", "アカウントを 1 つ以上指定してください。"},
	"profile_many":    {"a profile has at most %d accounts", "1 つのプロファイルに登録できるアカウントは %d 件までです。"},
	"profile_id": {
		"a profile's id has 1 to 60 of a-z, 0-9, dot, hyphen and underscore",
		"プロファイルの ID は、a-z、0-9、ピリオド、ハイフン、下線からなる 1～60 文字です（先頭は英数字）。",
	},
	"profile_config": {
		"the profile %s belongs to the configuration: change it there, or take another id",
		"プロファイル %s は設定ファイルで定義されています。設定ファイルで変更するか、別の ID を使ってください。",
	},
	"profile_rate": {
		"max_rate: %q is not like \"5000 msgs/hour\" (minute, hour or day; 1 to %d)",
		"上限 %q は「5000 msgs/hour」の形ではありません（単位は minute、hour、day、数は 1～%d）。",
	},
	"profile_text":   {"a description has at most %d characters", "説明は %d 文字以内にしてください。"},
	"profile_taken":  {"%s has the profile %s already: take it out of that one first", "%s はすでにプロファイル %s に登録されています。先にそちらから外してください。"},
	"profile_exists": {"there is a profile %s already: change that one, or take another id", "プロファイル %s はすでにあります。そちらを変更するか、別の ID を使ってください。"},
	"profile_sum": {
		"the accounts of all profiles could send %d recipients an hour: more than %d, the limit of a tenant, is for operators of the installation to allow",
		"全プロファイルのアカウントを合わせると、1 時間に %d 宛先まで送信できてしまいます。テナントの上限 %d を超える設定ができるのはシステム管理者だけです。",
	},

	"tenant_name":            {"the tenant's name must have 1 to 100 bytes in one line", "テナント名は 1 行、1～100 バイトにしてください。"},
	"tenant_reserved":        {"the tenant name %q is reserved", "テナント名 %q は予約されています。"},
	"tenant_shredded":        {"the keys of %s were destroyed a moment ago: try again in some minutes", "テナント %s は鍵を破棄した直後のため、まだ受信を再開できません。数分後にもう一度お試しください。"},
	"quota":                  {"a quota is 0 (none) to %d bytes", "容量制限は 0（制限なし）～%d バイトで指定してください。"},
	"domains_empty":          {"name at least one domain", "ドメインを 1 つ以上指定してください。"},
	"not_an_address":         {"%q is not a mail address", "%q はメールアドレスではありません。"},
	"mailbox_password":       {"the mailbox password cannot be used: %v", "メールボックスのパスワードが使えません: %v"},
	"domain_taken":           {"the domain %s belongs to another tenant, or is an alias", "ドメイン %s は別のテナントのものか、別名です。"},
	"domain_foreign":         {"the domain of %s is not one of the tenant's: add it with --domain", "%s のドメインはこのテナントのものではありません。--domain で追加してください。"},
	"address_taken":          {"%s is an alias, or belongs to another tenant", "%s は別名か、別のテナントのものです。"},
	"alias_domain":           {"the domain %s is not here: an alias has a domain of its tenant", "ドメイン %s は登録されていません。別名には、テナントのドメインを使ってください。"},
	"alias_domain_of":        {"the domain %s is no domain of the tenant that another could stand for", "ドメイン %s は、別名ドメインの本体にできません（このテナントのドメインではないか、それ自体が別名です）。"},
	"alias_otherwise":        {"%s is an alias already, of another address", "%s はすでに別のアドレスの別名です。"},
	"domain_taken_otherwise": {"the domain %s belongs to another tenant, is one of its own, or stands for another domain", "ドメイン %s は別のテナントのものか、別名ではないドメイン、または別のドメインの別名として登録されています。"},
	"alias_loop":             {"mail for %s would come back to it", "%s 宛のメールが自分自身に戻ってしまいます。"},
	"alias_nowhere":          {"there is no mailbox or alias %s: make it first", "%s というメールボックスも別名もありません。先に作成してください。"},
	"alias_mailbox":          {"%s is a mailbox, and cannot be an alias too", "%s はメールボックスです。別名にはできません。"},
	"alias_foreign":          {"%s belongs to another tenant", "%s は別のテナントのアドレスです。"},
	"user_elsewhere":         {"the user %s exists with another role or in another tenant", "ユーザー %s は、別のロールまたは別のテナントで登録されています。"},
	"user_password_bad":      {"the password of %s cannot be used: %v", "%s のパスワードが使えません: %v"},
}
