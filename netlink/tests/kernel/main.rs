//! Against the running kernel, each test in a network namespace of its own that ends with it.

mod addresses;
mod connections;
mod flows;
mod lab;
mod macvlan;
mod monitor;
mod namespace;
mod nftables;
mod own_routes;
mod routes;
