//! The suite that each client must pass (`testing::suite`), with the model and with librdkafka.

mod librdkafka;
mod model;
