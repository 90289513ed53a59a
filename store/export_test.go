package store

import "time"

// SetPutPatience sets how long a lone delivery's transaction waits for its object.
func (s *Store) SetPutPatience(d time.Duration) { s.putPatience = d }

// ShareFor is as if there were several deliveries at once for so long.
func (s *Store) ShareFor(d time.Duration) { s.shareFor(d) }
