//! The suite that each client must pass (`testing::suite`), with the model.

mod model;
