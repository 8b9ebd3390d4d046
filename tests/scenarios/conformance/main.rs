//! What RFC 9568 asks of a node and what only shows on a wire or in a kernel. `docs/rfc9568.md` names the
//! items; what follows from packets and time alone is proven in `vrrpd/proto`.

mod decoded;
mod hosts;
mod receiving;
mod sending;
mod succession;
