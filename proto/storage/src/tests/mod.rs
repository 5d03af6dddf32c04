mod damage;
mod format;
mod rig;
mod store;
mod verification;
