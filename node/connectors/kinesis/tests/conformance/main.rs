//! The suite that each client must pass (`testing::suite`), with the model and with AWS's SDK.

mod emulated;
mod model;
