//! Pictures: what people upload is decoded within limits, cut square, encoded anew in three sizes and kept under a
//! random id, in a folder or an S3-compatible store. Nothing of the upload itself is kept: no place, no device, no name.

use crate::turns::{NotDone, Turns};
use bytes::Bytes;
use futures_util::future::try_join_all;
use image::{
    DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, Rgb, RgbImage, codecs::jpeg::JpegEncoder,
    imageops::FilterType, metadata::Orientation,
};
use madang_proto::{
    id::PictureId,
    reason::{Reason, Refusal},
};
use object_store::{
    ClientConfigKey, ObjectStore, PutPayload, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path,
};
use std::{io::Cursor, sync::Arc, time::Duration};
use uuid::Uuid;

/// The largest upload, in bytes.
pub const MAX_BYTES: usize = 5 << 20;
/// The sizes that are kept, in pixels a side.
pub const SIZES: [u32; 3] = [64, 256, 1024];
/// The size that is given where none is asked for.
const USUAL: u32 = 256;
/// The most pixels of an upload: decoded they take four bytes each, however few the file has.
const MAX_PIXELS: u64 = 32_000_000;
/// The longest side of an upload, in pixels.
const MAX_SIDE: u32 = 16_384;
/// How many are decoded at once.
const AT_ONCE: usize = 2;
/// How many wait for their turn at most: they hold up to 5 MiB each.
const WAITING: usize = 32;
/// How long a store may take for one request.
const ANSWER: &str = "4 seconds";
/// For how long a request is tried again that a store did not answer, or refused for now: whoever waits for it is told.
const INSIST: Duration = Duration::from_secs(4);
/// The quality of the JPEGs that are kept, of 100.
const QUALITY: u8 = 85;

/// The place for pictures can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't use {place} for pictures (--pictures): {why}")]
pub struct Unusable {
    place: String,
    why: String,
}

/// A picture that is to be kept.
pub struct Made {
    /// Its id.
    pub id: String,
    sizes: [Bytes; 3],
}

/// The pictures.
pub struct Pictures {
    store: Arc<dyn ObjectStore>,
    turns: Turns,
}

fn nothing() -> Refusal {
    Refusal::new(Reason::NotFound, "there is no such picture: it may have been replaced")
}

fn failed(error: &object_store::Error) -> Refusal {
    tracing::error!(%error, "the store of pictures failed");
    Refusal::new(Reason::Unavailable, "pictures can't be reached: try again a little later").after(1000)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidField, message).of("image")
}

impl Pictures {
    /// In a folder, or in `s3://BUCKET`, which is reached as the usual variables say (`AWS_REGION`, `AWS_ENDPOINT`,
    /// `AWS_ACCESS_KEY_ID`, …).
    pub fn open(place: &str) -> Result<Self, Unusable> {
        let unusable = |why: String| Unusable { place: place.to_owned(), why };
        let store: Arc<dyn ObjectStore> = if place.starts_with("s3://") {
            let bucket = AmazonS3Builder::from_env()
                .with_url(place)
                .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), ANSWER)
                .with_retry(RetryConfig { retry_timeout: INSIST, ..RetryConfig::default() });
            Arc::new(bucket.build().map_err(|error| unusable(error.to_string()))?)
        } else {
            std::fs::create_dir_all(place).map_err(|error| unusable(error.to_string()))?;
            let folder = LocalFileSystem::new_with_prefix(place).map_err(|error| unusable(error.to_string()))?;
            Arc::new(folder.with_automatic_cleanup(true))
        };
        Ok(Self { store, turns: Turns::new(AT_ONCE, WAITING) })
    }

    /// An upload in all sizes, under an id that is new with each.
    pub async fn make(&self, upload: Bytes) -> Result<Made, Refusal> {
        let (made, _place) = self.turns.take(move || render(&upload)).await.map_err(|why| match why {
            NotDone::Busy => {
                Refusal::new(Reason::Overloaded, "many pictures are being made: try again a little later").after(1000)
            }
            NotDone::Failed => Refusal::new(Reason::Internal, "the picture could not be made: try again"),
        })?;
        Ok(Made { id: PictureId::from(Uuid::new_v4()).to_string(), sizes: made?.map(Bytes::from) })
    }

    /// Keeps a picture; one that can't be kept may be there in part.
    pub async fn keep(&self, picture: &Made) -> Result<(), Refusal> {
        let put = |(size, jpeg): (u32, &Bytes)| {
            let (path, jpeg) = (path(&picture.id, size), PutPayload::from(jpeg.clone()));
            async move { self.store.put(&path, jpeg).await }
        };
        try_join_all(SIZES.into_iter().zip(&picture.sizes).map(put)).await.map_err(|error| failed(&error))?;
        Ok(())
    }

    /// A picture in a size, as JPEG.
    pub async fn get(&self, picture: &str, size: u32) -> Result<Bytes, Refusal> {
        let size = if size == 0 { USUAL } else { size };
        if !SIZES.contains(&size) {
            return Err(Refusal::new(Reason::InvalidField, "size must be 64, 256 or 1024").of("size"));
        }
        let found = self.store.get(&path(known(picture)?, size)).await;
        let bytes = async { found?.bytes().await };
        bytes.await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => nothing(),
            other => failed(&other),
        })
    }

    /// Deletes a picture; one that is not there is deleted.
    pub async fn delete(&self, picture: &str) -> Result<(), Refusal> {
        let Ok(picture) = known(picture) else { return Ok(()) };
        let delete = |size| async move {
            match self.store.delete(&path(picture, size)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failed(&error)),
            }
        };
        try_join_all(SIZES.map(delete)).await?;
        Ok(())
    }
}

/// An id, if it is one: it becomes part of a path.
fn known(picture: &str) -> Result<&str, Refusal> {
    picture.parse::<PictureId>().map(|_| picture).map_err(|_| nothing())
}

/// By its first letters first, so that no folder gets too large.
fn path(picture: &str, size: u32) -> Path {
    Path::from(format!("{}/{picture}-{size}.jpg", &picture[..2]))
}

/// An upload in all sizes.
fn render(upload: &[u8]) -> Result<[Vec<u8>; 3], Refusal> {
    if upload.len() > MAX_BYTES {
        return Err(Refusal::new(Reason::TooLarge, "a picture takes at most 5 MiB: make it smaller").of("image"));
    }
    let square = square(decode(upload)?);
    let mut made = [const { Vec::new() }; 3];
    let mut from = square;
    // From the largest down: each is made from the one before, which is close enough and much cheaper.
    for (size, jpeg) in SIZES.into_iter().zip(&mut made).rev() {
        if from.width() > size {
            from = image::imageops::resize(&from, size, size, FilterType::Lanczos3);
        }
        let encoded = JpegEncoder::new_with_quality(&mut *jpeg, QUALITY).encode_image(&from);
        encoded.map_err(|error| invalid(format!("the picture can't be encoded: {error}")))?;
    }
    Ok(made)
}

/// What it shows, the right way up; refused before it is unpacked if that would take too much.
fn decode(upload: &[u8]) -> Result<DynamicImage, Refusal> {
    let unreadable = |why: String| invalid(format!("the picture can't be read: {why}"));
    let mut reader =
        ImageReader::new(Cursor::new(upload)).with_guessed_format().map_err(|error| unreadable(error.to_string()))?;
    if !matches!(reader.format(), Some(ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) {
        return Err(invalid("a picture must be a JPEG, PNG or WebP file"));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(8 * MAX_PIXELS);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| unreadable(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        let message = format!("{width} × {height} pixels; at most 32 million are taken, {MAX_SIDE} a side");
        return Err(Refusal::new(Reason::TooLarge, message).of("image"));
    }
    // A picture whose orientation can't be read is shown as it is.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| unreadable(error.to_string()))?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The middle of it, on white where it is transparent.
fn square(image: DynamicImage) -> RgbImage {
    let side = image.width().min(image.height());
    let (x, y) = ((image.width() - side) / 2, (image.height() - side) / 2);
    let cut = image.crop_imm(x, y, side, side);
    if !cut.color().has_alpha() {
        return cut.into_rgb8();
    }
    let cut = cut.into_rgba8();
    RgbImage::from_fn(side, side, |x, y| {
        let [red, green, blue, alpha] = cut.get_pixel(x, y).0;
        let over = |part: u8| {
            let sum = u32::from(part) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
            u8::try_from(sum / 255).unwrap_or(u8::MAX)
        };
        Rgb([over(red), over(green), over(blue)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgba, RgbaImage};

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    fn shown(jpeg: &[u8]) -> RgbImage {
        image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg).unwrap().into_rgb8()
    }

    fn near(is: Rgb<u8>, should: [u8; 3]) -> bool {
        is.0.iter().zip(should).all(|(is, should)| is.abs_diff(should) < 12)
    }

    #[test]
    fn a_picture_is_cut_square_in_three_sizes() {
        // Red at the left, green in the middle, blue at the right: 3000 × 1500.
        let third = |x: u32| match x {
            0..750 => Rgb([255, 0, 0]),
            750..2250 => Rgb([0, 255, 0]),
            _ => Rgb([0, 0, 255]),
        };
        let wide = DynamicImage::from(RgbImage::from_fn(3000, 1500, |x, _| third(x)));
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let made = render(&encoded(&wide, format)).unwrap();
            for (size, jpeg) in SIZES.into_iter().zip(made) {
                let image = shown(&jpeg);
                assert_eq!(image.dimensions(), (size, size));
                assert!(image.pixels().all(|pixel| near(*pixel, [0, 255, 0])), "{format:?} {size}: the middle alone");
            }
        }
    }

    #[test]
    fn a_small_one_stays_small_and_transparency_becomes_white() {
        let clear = DynamicImage::from(RgbaImage::from_pixel(100, 120, Rgba([0, 0, 0, 0])));
        let made = render(&encoded(&clear, ImageFormat::Png)).unwrap();
        assert_eq!(made.each_ref().map(|jpeg| shown(jpeg).width()), [64, 100, 100]);
        assert!(shown(&made[2]).pixels().all(|pixel| near(*pixel, [255, 255, 255])));
    }

    #[test]
    fn what_an_upload_said_about_itself_is_gone_but_which_way_is_up() {
        let left = |x: u32, _: u32| if x < 50 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) };
        let plain = encoded(&DynamicImage::from(RgbImage::from_fn(100, 100, left)), ImageFormat::Jpeg);
        // EXIF with orientation 6 (turn right by 90°) and a camera's name, behind the first marker.
        let mut tiff = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x02".to_vec();
        tiff.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0");
        tiff.extend(b"\x01\x0f\0\x02\0\0\0\x08\0\0\0\x26\0\0\0\0");
        tiff.extend(b"SECRET!\0");
        let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
        let upload = [&plain[..2], &[0xff, 0xe1], &length, &tiff, &plain[2..]].concat();
        let made = render(&upload).unwrap();
        let image = shown(&made[1]);
        assert!(near(*image.get_pixel(50, 10), [255, 0, 0]) && near(*image.get_pixel(50, 90), [0, 0, 255]));
        assert!(made.iter().all(|jpeg| !jpeg.windows(6).any(|part| part == b"SECRET")));
    }

    #[test]
    fn bombs_and_other_files_are_refused() {
        let reason = |upload: &[u8]| render(upload).unwrap_err().reason;
        assert_eq!(reason(b"GIF89a\x01\0\x01\0\0\0\0;"), Reason::InvalidField);
        assert_eq!(reason(b"no picture"), Reason::InvalidField);
        assert_eq!(reason(&vec![0; MAX_BYTES + 1]), Reason::TooLarge);
        // 8,000 × 8,000 of one colour are 30 KiB.
        let huge = encoded(&DynamicImage::from(image::GrayImage::new(8000, 8000)), ImageFormat::Png);
        assert!(huge.len() < 1 << 20);
        assert_eq!(reason(&huge), Reason::TooLarge);
        let mut cut = encoded(&DynamicImage::new_rgb8(50, 50), ImageFormat::Png);
        cut.truncate(cut.len() / 2);
        assert_eq!(reason(&cut), Reason::InvalidField);
    }

    #[tokio::test]
    async fn a_picture_is_found_by_its_id_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = Pictures::open(folder.path().to_str().unwrap()).unwrap();
        let upload: Bytes = encoded(&DynamicImage::new_rgb8(300, 300), ImageFormat::Png).into();
        let keep = async || {
            let made = pictures.make(upload.clone()).await.unwrap();
            pictures.keep(&made).await.unwrap();
            made.id
        };
        let (one, other) = (keep().await, keep().await);
        assert_ne!(one, other);
        assert_eq!(shown(&pictures.get(&one, 64).await.unwrap()).width(), 64);
        assert_eq!(shown(&pictures.get(&one, 0).await.unwrap()).width(), 256);
        assert_eq!(pictures.get(&one, 65).await.unwrap_err().reason, Reason::InvalidField);
        for unknown in ["../../etc/passwd", "", &Uuid::new_v4().to_string(), &one.to_uppercase()] {
            assert_eq!(pictures.get(unknown, 64).await.unwrap_err().reason, Reason::NotFound, "{unknown}");
        }
        pictures.delete(&one).await.unwrap();
        pictures.delete(&one).await.unwrap();
        assert_eq!(pictures.get(&one, 64).await.unwrap_err().reason, Reason::NotFound);
        assert!(pictures.get(&other, 64).await.is_ok());
    }
}
