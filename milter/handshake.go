package milter

import (
	"fmt"

	gomilter "github.com/emersion/go-milter"
)

// offer is one side's part of the handshake (SMFIC_OPTNEG).
type offer struct {
	version  uint32
	actions  gomilter.OptAction
	protocol gomilter.OptProtocol
}

const (
	neededActions = gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptQuarantine

	// wantedProtocol is taken as far as the MTA offers it; Postfix 3.5 and later offer all of it.
	// Leading spaces are wanted so that a DKIM signature over header fields as they are (c=simple)
	// survives, refused recipients so that nothing is overlooked, and no replies where there is
	// nothing to say, because each costs a round trip.
	wantedProtocol = gomilter.OptHeaderLeadingSpace | gomilter.OptRcptRej |
		gomilter.OptNoUnknown | gomilter.OptNoData |
		gomilter.OptNoConnReply | gomilter.OptNoHeloReply |
		gomilter.OptNoHeaderReply | gomilter.OptNoEOHReply | gomilter.OptNoBodyReply
)

// accept gives our half of the handshake.
func accept(o offer) (offer, error) {
	if o.version < 2 {
		return offer{}, fmt.Errorf("the MTA speaks milter protocol %d, at least 2 is needed", o.version)
	}
	if o.actions&neededActions != neededActions {
		return offer{}, fmt.Errorf("the MTA allows actions %#x, at least %#x are needed", uint32(o.actions), uint32(neededActions))
	}
	return offer{version: 2, actions: neededActions, protocol: o.protocol & wantedProtocol}, nil
}
