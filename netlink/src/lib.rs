//! What vrrpd tells Linux, and Linux it.
