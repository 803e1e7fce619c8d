//! Reads one member of a tar: its header and whatever extends it, up to its content.
//!
//! Fields come from the `tar` crate's headers. The sequence of headers is followed here, because that crate
//! splits PAX records at newlines (which binary attributes contain) and reads extensions of any length.
//! Where formats disagree this does what Go's archive/tar does, as containerd and BuildKit read with it:
//! PAX over header, GNU long names over PAX, no content for links and special files.
//! What names mean in a layer is not known here.

use std::collections::BTreeMap;
use std::io::Read;

use super::error::LayerError;
use super::tar_header::{TAR_BLOCK, padding};
use super::tar_sparse::{Segment, gnu_segments, pax_segments};

/// The most bytes of a PAX header or a GNU long name; Go's archive/tar has the same limit.
pub const MAX_EXTENSION_BYTES: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) type_flag: u8,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) mtime: i64,
    pub(super) major: i64,
    pub(super) minor: i64,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of the content as readers see it, holes included.
    pub(super) size: u64,
    /// Of the content in the archive, without padding.
    pub(super) stored: u64,
    pub(super) padding: usize,
    /// What of the content is stored, in order; the rest is zeros.
    pub(super) segments: Vec<Segment>,
}

/// What PAX and GNU extensions say about the next member.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    size: Option<i64>,
    uid: Option<i64>,
    gid: Option<i64>,
    mtime: Option<i64>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: BTreeMap<Vec<u8>, Vec<u8>>,
    seen_pax: bool,
}

/// The next member, or nothing at the archive's end. The source then stands at the content.
pub(super) fn read_member(source: &mut impl Read) -> Result<Option<Member>, LayerError> {
    let mut extensions = Extensions::default();
    let mut extended = false;
    loop {
        let mut block = [0; TAR_BLOCK];
        let there = read_block(source, &mut block)?;
        if !there || block == [0; TAR_BLOCK] {
            if extended {
                return Err(LayerError::malformed("an extended header has no member"));
            }
            return if there { end(source) } else { Ok(None) };
        }
        check_sum(&block)?;
        let header = tar::Header::from_byte_slice(&block);
        let size = field_size(&header.as_old().size)?;
        match block[156] {
            b'x' if extensions.seen_pax => {
                return Err(LayerError::malformed("two PAX headers for one member"));
            }
            b'x' => extensions.add_pax(&read_extension(source, size)?)?,
            b'L' => extensions.long_name = Some(until_nul(read_extension(source, size)?)),
            b'K' => extensions.long_link = Some(until_nul(read_extension(source, size)?)),
            b'g' => {
                skip(source, size.saturating_add(padding(size) as u64))?;
                continue;
            }
            _ => return member(header, size, extensions, source).map(Some),
        }
        extended = true;
    }
}

/// An archive ends with two zero blocks, or, as Go has it, where the stream does.
fn end(source: &mut impl Read) -> Result<Option<Member>, LayerError> {
    let mut block = [0; TAR_BLOCK];
    if read_block(source, &mut block)? && block != [0; TAR_BLOCK] {
        return Err(LayerError::malformed("a lone zero block between members"));
    }
    Ok(None)
}

fn member(
    header: &tar::Header,
    header_size: u64,
    extensions: Extensions,
    source: &mut impl Read,
) -> Result<Member, LayerError> {
    let old = header.as_old();
    let mut member = Member {
        type_flag: header.as_bytes()[156],
        path: header.path_bytes().into_owned(),
        link: header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default(),
        mode: field(&old.mode)?,
        uid: field(&old.uid)?,
        gid: field(&old.gid)?,
        mtime: field(&old.mtime)?,
        stored: header_size,
        ..Member::default()
    };
    let magic = &header.as_bytes()[257..262];
    if magic == b"ustar" && matches!(member.type_flag, b'3' | b'4') {
        member.major = field(&header.as_bytes()[329..337])?;
        member.minor = field(&header.as_bytes()[337..345])?;
    }
    let sparse = extensions.extend(&mut member)?;
    if matches!(member.type_flag, b'1'..=b'6') {
        member.stored = 0;
    }
    member.size = member.stored;
    member.padding = padding(member.stored);
    member.segments = vec![Segment { offset: 0, length: member.size }];
    if member.type_flag == b'S' {
        gnu_segments(header, &mut member, source)?;
    } else if !sparse.is_empty() {
        pax_segments(&sparse, &mut member, source)?;
    }
    Ok(member)
}

impl Extensions {
    fn add_pax(&mut self, mut records: &[u8]) -> Result<(), LayerError> {
        self.seen_pax = true;
        while !records.is_empty() {
            let (key, value, rest) =
                pax_record(records).ok_or_else(|| LayerError::malformed("a PAX record"))?;
            records = rest;
            self.add_record(key, value)?;
        }
        Ok(())
    }

    fn add_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), LayerError> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        if value.is_empty() {
            // Takes back what a global header said.
            return Ok(());
        }
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(whole_seconds(value)?),
            _ => {
                let sparse = key.strip_prefix(b"GNU.sparse.");
                let before = sparse.and_then(|key| self.sparse.insert(key.to_vec(), value.to_vec()));
                if before.is_some() {
                    return Err(LayerError::malformed("a sparse file of a form other than 1.0"));
                }
            }
        }
        Ok(())
    }

    /// Puts what the extensions say in place of what the header says; gives what is left to be done.
    fn extend(self, member: &mut Member) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, LayerError> {
        if let Some(path) = self.long_name.or(self.path) {
            member.path = path;
        }
        if let Some(link) = self.long_link.or(self.link) {
            member.link = link;
        }
        if let Some(size) = self.size {
            member.stored = u64::try_from(size).map_err(|_| LayerError::malformed("a size is negative"))?;
        }
        member.uid = self.uid.unwrap_or(member.uid);
        member.gid = self.gid.unwrap_or(member.gid);
        member.mtime = self.mtime.unwrap_or(member.mtime);
        member.xattrs = self.xattrs;
        Ok(self.sparse)
    }
}

/// Fills the block, or says that the source ended before its first byte.
pub(super) fn read_block(source: &mut impl Read, block: &mut [u8; TAR_BLOCK]) -> Result<bool, LayerError> {
    let mut filled = 0;
    while filled < block.len() {
        match source.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(LayerError::Truncated("a header")),
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn read_extension(source: &mut impl Read, size: u64) -> Result<Vec<u8>, LayerError> {
    if size > MAX_EXTENSION_BYTES {
        return Err(LayerError::Limit { what: "bytes in one extended header", limit: MAX_EXTENSION_BYTES });
    }
    let mut bytes = Vec::new();
    source.take(size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(LayerError::Truncated("an extended header"));
    }
    skip(source, padding(size) as u64)?;
    Ok(bytes)
}

pub(super) fn skip(source: &mut impl Read, count: u64) -> Result<(), LayerError> {
    let skipped = std::io::copy(&mut source.take(count), &mut std::io::sink())?;
    if skipped == count { Ok(()) } else { Err(LayerError::Truncated("an entry")) }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Both sums are in use: of unsigned bytes, as POSIX says, and of signed ones, as some old tars had it.
fn check_sum(block: &[u8; TAR_BLOCK]) -> Result<(), LayerError> {
    let expected = field(&block[148..156])?;
    let spaces = 8 * i64::from(b' ');
    let summed = || block[..148].iter().chain(&block[156..]);
    let unsigned = spaces + summed().map(|byte| i64::from(*byte)).sum::<i64>();
    let signed = spaces + summed().map(|byte| i64::from(*byte as i8)).sum::<i64>();
    if expected == unsigned || expected == signed {
        Ok(())
    } else {
        Err(LayerError::malformed("a header's checksum is wrong"))
    }
}

pub(super) fn field_size(bytes: &[u8]) -> Result<u64, LayerError> {
    u64::try_from(field(bytes)?).map_err(|_| LayerError::malformed("a size is negative"))
}

/// A number in octal digits, or, for GNU, as a big-endian two's complement with the top bit set.
pub(super) fn field(bytes: &[u8]) -> Result<i64, LayerError> {
    let wrong = || LayerError::malformed("a number in a header");
    if bytes[0] & 0x80 == 0 {
        let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
        let start = bytes.iter().position(|byte| !is_filler(byte)).unwrap_or(bytes.len());
        let digits = &bytes[start..];
        let digits = &digits[..digits.iter().position(is_filler).unwrap_or(digits.len())];
        return digits.iter().try_fold(0i64, |value, digit| match digit {
            b'0'..=b'7' => value.checked_mul(8).map(|v| v + i64::from(digit - b'0')).ok_or_else(wrong),
            _ => Err(wrong()),
        });
    }
    let negative = bytes[0] & 0x40 != 0;
    let first = if negative { bytes[0] } else { bytes[0] & 0x7f };
    let mut value = i128::from(if negative { first as i8 } else { first as i8 & 0x3f });
    for byte in &bytes[1..] {
        value = value << 8 | i128::from(*byte);
    }
    i64::try_from(value).map_err(|_| wrong())
}

/// `LENGTH KEY=VALUE\n` at the start of `records`: key, value, and what follows.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(8).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then(|| (&record[..equals], &record[equals + 1..], &records[length..]))
}

pub(super) fn decimal(text: &[u8]) -> Result<i64, LayerError> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| LayerError::malformed("a number in a PAX record"))
}

/// The second a PAX time such as `1700000000.25` falls in.
fn whole_seconds(text: &[u8]) -> Result<i64, LayerError> {
    let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let (seconds, fraction) = (decimal(&text[..point])?, &text[point..]);
    let has_fraction = fraction.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    Ok(if text[0] == b'-' && has_fraction { seconds.saturating_sub(1) } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_headers() {
        let check =
            |bytes: &[u8], expected: Option<i64>| assert_eq!(field(bytes).ok(), expected, "{bytes:x?}");
        check(b"0000644\0", Some(0o644));
        check(b"    644 ", Some(0o644));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"0000648\0", None);
        check(b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(0x102));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2));
        check(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None);
    }

    #[test]
    fn times_fall_in_a_second() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(whole_seconds(text.as_bytes()).ok(), expected, "{text}")
        };
        check("12", Some(12));
        check("12.75", Some(12));
        check("-1.5", Some(-2));
        check("-1.0", Some(-1));
        check("x", None);
        check("", None);
    }

    #[test]
    fn pax_records_may_hold_any_bytes() {
        let check = |bytes: &[u8], expected: Option<(&[u8], &[u8], &[u8])>| {
            assert_eq!(pax_record(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        };
        check(b"8 k=a\nb\nrest", Some((b"k", b"a\nb", b"rest")));
        check(b"8 k=a\nb\n", Some((b"k", b"a\nb", b"")));
        check(b"5 k=v\n", None);
        check(b"6 k=v\n", Some((b"k", b"v", b"")));
        check(b"6 kv=\n", Some((b"kv", b"", b"")));
        check(b"6 =kv\n", None);
        check(b"99999999 k=v\n", None);
        check(b"2 k=v\n", None);
    }
}
