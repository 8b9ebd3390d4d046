//! RFC 9568 by its sections, through the public interface of the node. `docs/rfc9568.md` lists what each
//! test stands for.

#[path = "rfc9568/ledger.rs"]
mod ledger;
#[path = "rfc9568/neighbours.rs"]
mod neighbours;
#[path = "rfc9568/receiving.rs"]
mod receiving;
mod scene;
#[path = "rfc9568/state_machine.rs"]
mod state_machine;
mod vectors;
