package store

import "time"

// SetPutPatience sets how long a lone delivery's transaction waits for its object.
func (s *Store) SetPutPatience(d time.Duration) { s.putPatience = d }
