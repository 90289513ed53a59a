package api

import "net/http"

// code names a kind of problem; programs rely on it.
type code string

const (
	codeValidation       code = "validation_failed"
	codeMalformed        code = "malformed_request"
	codeInvalidCursor    code = "invalid_cursor"
	codeMailboxRequired  code = "mailbox_required"
	codeNotASession      code = "not_a_session"
	codeRefused          code = "refused"
	codeUnauthenticated  code = "unauthenticated"
	codeWrongCredentials code = "wrong_credentials"
	codeForbidden        code = "forbidden"
	codeCrossOrigin      code = "cross_origin"
	codeNotFound         code = "not_found"
	codeMethodNotAllowed code = "method_not_allowed"
	codeTimeout          code = "request_timeout"
	codeExists           code = "already_exists"
	codeConflict         code = "conflict"
	codeTooLarge         code = "too_large"
	codeMediaType        code = "unsupported_media_type"
	codeRange            code = "range_not_satisfiable"
	codeThrottled        code = "too_many_attempts"
	codeCanceled         code = "canceled"
	codeInternal         code = "internal"
	codeUnavailable      code = "unavailable"
	codeBodyUnavailable  code = "body_unavailable"
	codeNoEngine         code = "no_outbound_engine"
)

// about is what is known of a code.
type about struct {
	status int
	en, ja string
}

func (c code) about() about {
	switch c {
	case codeValidation:
		return about{http.StatusUnprocessableEntity, "The request has invalid values.", "リクエストの値が正しくありません。"}
	case codeMalformed:
		return about{http.StatusBadRequest, "The request cannot be understood.", "リクエストを解釈できません。"}
	case codeInvalidCursor:
		return about{http.StatusBadRequest, "The cursor is not valid for this request. Start again without one.", "カーソルが無効です。カーソルなしで最初から取得してください。"}
	case codeMailboxRequired:
		return about{http.StatusBadRequest, "Say which mailbox: you can see more than one, or none.", "メールボックスを指定してください。"}
	case codeNotASession:
		return about{http.StatusBadRequest, "Only a session can be ended. API keys are revoked.", "ログアウトできるのはセッションだけです。"}
	case codeRefused:
		return about{http.StatusUnprocessableEntity, "The request was refused.", "リクエストは拒否されました。"}
	case codeUnauthenticated:
		return about{http.StatusUnauthorized, "Log in, or send a valid API key.", "ログインするか、有効な API キーを送信してください。"}
	case codeWrongCredentials:
		return about{http.StatusUnauthorized, "Unknown login or wrong password.", "ログイン名またはパスワードが違います。"}
	case codeForbidden:
		return about{http.StatusForbidden, "Your role does not allow this.", "この操作を行う権限がありません。"}
	case codeCrossOrigin:
		return about{http.StatusForbidden, "The request comes from another site.", "他のサイトからのリクエストは受け付けません。"}
	case codeNotFound:
		return about{http.StatusNotFound, "There is no such thing.", "見つかりません。"}
	case codeMethodNotAllowed:
		return about{http.StatusMethodNotAllowed, "The method is not allowed here.", "このメソッドは使用できません。"}
	case codeTimeout:
		return about{http.StatusRequestTimeout, "The request took too long to arrive.", "リクエストの受信が時間切れになりました。"}
	case codeExists:
		return about{http.StatusConflict, "It exists already.", "すでに存在します。"}
	case codeConflict:
		return about{http.StatusConflict, "Somebody else changed it meanwhile. Look again, then decide again.", "その間にほかの人が変更しました。もう一度内容を確認してください。"}
	case codeTooLarge:
		return about{http.StatusRequestEntityTooLarge, "The request is too large.", "リクエストが大きすぎます。"}
	case codeMediaType:
		return about{http.StatusUnsupportedMediaType, "Send application/json.", "application/json を送信してください。"}
	case codeRange:
		return about{http.StatusRequestedRangeNotSatisfiable, "The range lies outside of the object.", "指定された範囲は存在しません。"}
	case codeThrottled:
		return about{http.StatusTooManyRequests, "Too many logins failed. Try again later.", "ログインの失敗が続いています。しばらくしてからお試しください。"}
	case codeCanceled:
		return about{499, "The client went away.", "クライアントが接続を閉じました。"}
	case codeUnavailable:
		return about{http.StatusServiceUnavailable, "The service is not available right now.", "現在ご利用いただけません。"}
	case codeBodyUnavailable:
		return about{http.StatusServiceUnavailable, "The message body cannot be retrieved right now", "本文を取得できません"}
	case codeNoEngine:
		return about{http.StatusServiceUnavailable, "The outbound engine does not run here.", "ここでは送信制御エンジンが動作していません。"}
	default:
		return about{http.StatusInternalServerError, "Something went wrong. The request id helps to find out what.", "エラーが発生しました。"}
	}
}

func (c code) status() int { return c.about().status }

// text is for people, in language "en" or "ja".
func (c code) text(language string) string {
	if language == "ja" {
		return c.about().ja
	}
	return c.about().en
}

// codeOfStatus is for errors that are known by their status only.
func codeOfStatus(status int) code {
	switch status {
	case http.StatusUnprocessableEntity:
		return codeValidation
	case http.StatusRequestEntityTooLarge:
		return codeTooLarge
	case http.StatusUnsupportedMediaType:
		return codeMediaType
	case http.StatusRequestTimeout:
		return codeTimeout
	case http.StatusNotFound:
		return codeNotFound
	}
	if status < http.StatusInternalServerError {
		return codeMalformed
	}
	return codeInternal
}
