mod damage;
mod format;
pub(crate) mod rig;
mod store;
mod verification;
