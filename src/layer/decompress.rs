//! The uncompressed bytes of a blob, whatever compressed it.

use std::io::{self, BufReader, Chain, Cursor, Read, Take};

use flate2::bufread::MultiGzDecoder;

use super::error::LayerError;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames, which zstd:chunked and others put around theirs: 0x184D2A50 to 0x184D2A5F.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// A frame may ask for no more window than this: 128 MiB, zstd's own limit for streams.
const ZSTD_WINDOW_LOG: u32 = 27;
const BUFFER_BYTES: usize = 128 << 10;

type Source<R> = BufReader<Chain<Take<Cursor<[u8; 4]>>, R>>;

pub(super) enum Decompressor<R: Read> {
    None(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::Decoder<'static, Source<R>>>),
}

impl<R: Read> Decompressor<R> {
    pub(super) fn new(mut reader: R, media_type: &str) -> Result<Self, LayerError> {
        if media_type.ends_with("+encrypted") {
            return Err(LayerError::MediaType(media_type.to_string()));
        }
        let mut magic = [0; 4];
        let mut known = 0;
        while known < magic.len() {
            match reader.read(&mut magic[known..]) {
                Ok(0) => break,
                Ok(count) => known += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let source = Cursor::new(magic).take(known as u64).chain(reader);
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        if magic[..2] == GZIP_MAGIC {
            return Ok(Self::Gzip(Box::new(MultiGzDecoder::new(source))));
        }
        if magic == ZSTD_MAGIC || (magic[1..] == ZSTD_SKIPPABLE && magic[0] & 0xf0 == 0x50) {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            return Ok(Self::Zstd(Box::new(decoder)));
        }
        Ok(Self::None(source))
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}
