//! The stand-ins run for real: certificates by rcgen, etcd by Debian (`apt install etcd-server`),
//! everything on loopback.

#[cfg(test)]
mod bed;
#[cfg(test)]
mod life;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod pki;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rendered;
#[cfg(test)]
mod secrets;
