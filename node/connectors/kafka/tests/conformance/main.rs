//! The suite that each client must pass (`testing::suite`), with the model and with librdkafka; and what clients do while a broker is away.

mod gone;
mod librdkafka;
mod model;
