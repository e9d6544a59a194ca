//! Bodies of every format, through the gate and back.

mod ndjson;
