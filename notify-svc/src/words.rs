//! What a notification says to people, in their language: Korean or English.

use madang_proto::client::v1::Content;

/// How much of a text is shown, in code points.
const SHOWN: usize = 200;

/// A language that there are words in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// 한국어.
    Korean,
    /// English: also for whoever speaks another.
    English,
}

impl Language {
    /// Of a language tag.
    #[must_use]
    pub fn of(locale: &str) -> Self {
        let first = locale.split(['-', '_']).next().unwrap_or_default();
        if first.eq_ignore_ascii_case("ko") || first.eq_ignore_ascii_case("kor") { Self::Korean } else { Self::English }
    }

    /// A message of which nothing is said.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Korean => "새 메시지",
            Self::English => "New message",
        }
    }

    /// Somebody without a name, as whose account is gone.
    #[must_use]
    pub fn somebody(self) -> &'static str {
        match self {
            Self::Korean => "(알 수 없음)",
            Self::English => "(unknown)",
        }
    }

    /// What is attached, by its kind.
    #[must_use]
    pub fn attached(self, kind: Attached) -> &'static str {
        match (self, kind) {
            (Self::Korean, Attached::Picture) => "사진을 보냈습니다.",
            (Self::Korean, Attached::Video) => "동영상을 보냈습니다.",
            (Self::Korean, Attached::Sound) => "음성을 보냈습니다.",
            (Self::Korean, Attached::File) => "파일을 보냈습니다.",
            (Self::English, Attached::Picture) => "Sent a picture.",
            (Self::English, Attached::Video) => "Sent a video.",
            (Self::English, Attached::Sound) => "Sent a recording.",
            (Self::English, Attached::File) => "Sent a file.",
        }
    }
}

/// A kind of what is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// A picture.
    Picture,
    /// A video.
    Video,
    /// Something to listen to.
    Sound,
    /// Anything else.
    File,
}

/// What a message has to show: a text, or what is attached to none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A text, cut.
    Text(String),
    /// What is attached.
    Attached(Attached),
    /// Nothing that could be said.
    Nothing,
}

impl Shown {
    /// Of a message.
    #[must_use]
    pub fn of(content: &Content) -> Self {
        let text = content.text.trim();
        if !text.is_empty() {
            return Self::Text(cut(text, SHOWN));
        }
        let Some(first) = content.attachments.first() else { return Self::Nothing };
        Self::Attached(match first.media_type.split('/').next().unwrap_or_default() {
            "image" => Attached::Picture,
            "video" => Attached::Video,
            "audio" => Attached::Sound,
            _ => Attached::File,
        })
    }

    /// In a language.
    #[must_use]
    pub fn say(&self, language: Language) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Attached(kind) => language.attached(*kind),
            Self::Nothing => language.message(),
        }
    }
}

/// So many code points of a text at most, the last one `…` if it was longer.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::client::v1::Attachment;

    #[test]
    fn a_text_or_what_is_attached_in_ones_language() {
        let text = |text: &str| Shown::of(&Content { text: text.into(), ..Content::default() });
        assert_eq!(text(" 안녕 \n").say(Language::English), "안녕");
        assert_eq!(text(&"가".repeat(200)).say(Language::Korean), "가".repeat(200));
        assert_eq!(text(&"가".repeat(201)).say(Language::Korean), format!("{}…", "가".repeat(199)));
        let media_type = "image/webp".into();
        let attachments = vec![Attachment { media_type, ..Attachment::default() }];
        let picture = Shown::of(&Content { attachments, ..Content::default() });
        assert_eq!(picture.say(Language::of("ko-KR")), "사진을 보냈습니다.");
        assert_eq!(picture.say(Language::of("fr")), "Sent a picture.");
        assert_eq!(text("").say(Language::of("KO_kr")), "새 메시지");
        assert_eq!((Language::of(""), Language::of("kok")), (Language::English, Language::English));
    }
}
