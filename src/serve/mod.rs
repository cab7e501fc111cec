//! The servers the guarantee comes with, one a file.

mod hyper;
