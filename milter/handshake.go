package milter

import (
	"encoding/binary"
	"fmt"
)

// offer is one side's part of the handshake (SMFIC_OPTNEG).
type offer struct {
	version uint32
	actions actions
	options options
}

// readOffer reads the data of a handshake, which are 12 bytes.
func readOffer(data []byte) offer {
	return offer{
		version: binary.BigEndian.Uint32(data),
		actions: actions(binary.BigEndian.Uint32(data[4:])),
		options: options(binary.BigEndian.Uint32(data[8:])),
	}
}

// String is the data of a handshake.
func (o offer) String() string {
	b := binary.BigEndian.AppendUint32(nil, o.version)
	b = binary.BigEndian.AppendUint32(b, uint32(o.actions))
	return string(binary.BigEndian.AppendUint32(b, uint32(o.options)))
}

const (
	neededActions = mayAdd | mayChange | mayQuarantine

	// wantedOptions are taken as far as the MTA offers them; Postfix 3.5 and later offer all. Leading spaces are wanted so that
	// a DKIM signature over header fields as they are (c=simple) survives, refused recipients so that nothing is overlooked, and
	// no replies where there is nothing to say, because each costs a round trip.
	wantedOptions = leadingSpaces | refusedRcpt | noUnknown | noData |
		noConnReply | noHeloReply | noFieldReply | noEOHReply | noBodyReply
)

// accept gives our half of the handshake.
func (s *session) accept(o offer) (offer, error) {
	if o.version < 2 {
		return offer{}, fmt.Errorf("the MTA speaks milter protocol %d, at least 2 is needed", o.version)
	}
	if o.actions&neededActions != neededActions {
		return offer{}, fmt.Errorf("the MTA allows actions %#x, at least %#x are needed", uint32(o.actions), uint32(neededActions))
	}
	return offer{version: 2, actions: neededActions, options: o.options & s.wanted()}, nil
}

// wanted adds silence at MAIL and RCPT where nobody is refused there: then Postfix waits once for each message, at its end.
func (s *session) wanted() options {
	if s.srv.outbound != nil && (s.role == RoleAuto || s.role == RoleSubmission) {
		return wantedOptions
	}
	return wantedOptions | noMailReply | noRcptReply
}
