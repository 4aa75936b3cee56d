//! What people ask for over the sockets of their devices, which may be cut off before they are answered.

use super::{
    device::{Device, Sent},
    doors::{number, word},
    model::Op,
    play::{History, Plan},
    record::Outcome,
};
use madang_proto::id::ClientId;
use serde_json::{Value, json};

/// Two of them are one, and one is none of few.
const EMOJI: [&str; 4] = ["👍", "❤\u{fe0f}", "❤", "🥲"];

impl History<'_> {
    /// Somebody asks for something over their device's socket, and does not wait for it.
    pub async fn wire(&self, device: &mut Device, plan: Plan) {
        let Plan { who, what, pick, number: n, text, .. } = plan;
        // Now and then what somebody who came later may not see.
        let hidden = pick.is_multiple_of(2).then(|| self.done().record.hidden(&self.people[who].id)).flatten();
        let chosen = hidden.as_ref().map(|(room, _)| room.clone());
        let Some(id) = chosen.or_else(|| self.some_conversation(who, pick)) else { return };
        match what % 10 {
            // Whoever writes; and whoever wants to know who is there.
            8 => return self.write(device, who, &id).await,
            9 => return self.watch(device, who).await,
            _ => {}
        }
        let (me, said) = (self.people[who].id.clone(), self.done().record.said(&id));
        let own: Vec<_> = said.iter().filter(|(_, sender, _)| *sender == me).collect();
        // Mostly one's own; now and then one that there is not.
        let some = match (&own[..], n % 4) {
            _ if hidden.is_some() => said.iter().find(|(seq, ..)| hidden.as_ref().is_some_and(|(_, it)| it == seq)),
            ([.., last], 0) => Some(*last),
            ([first, ..], 1) => Some(*first),
            _ => said.get(pick % (said.len() + 1)),
        };
        let (seq, was) = some.map_or((n + 1, ""), |(seq, _, was)| (*seq, was.as_str()));
        let frame = |kind: &str, mut fields: Value| {
            (fields["conversation"], fields["clientId"]) = (json!(id), json!(ClientId::now().to_string()));
            json!({ kind: fields })
        };
        let message = seq.to_string();
        match (what / 10 * 8 + what % 10) % 20 {
            _ if said.is_empty() && !n.is_multiple_of(4) => self.wire_message(device, who, &id, text).await,
            0..4 => self.wire_message(device, who, &id, text).await,
            4..10 => {
                let text = if n == 5 && !was.is_empty() { was.to_owned() } else { text };
                let frame = frame("edit", json!({ "seq": message, "text": text }));
                self.send(device, who, &id, Op::Edit { seq, text }, frame).await;
            }
            10..13 => self.send(device, who, &id, Op::Delete { seq }, frame("delete", json!({ "seq": message }))).await,
            13 if n < 6 => {
                // More than a message carries.
                for each in 0..22_u32 {
                    let emoji = char::from_u32(0x1f400 + each).unwrap().to_string();
                    let frame = frame("react", json!({"seq": message, "emoji": emoji}));
                    self.send(device, who, &id, Op::React { seq, emoji, remove: false }, frame).await;
                }
            }
            14 => {
                let frame = json!({"read": {"conversation": id, "seq": message}});
                self.send(device, who, &id, Op::Read { seq }, frame).await;
            }
            _ => {
                let (emoji, remove) = (EMOJI[n as usize % EMOJI.len()].to_owned(), pick % 4 == 0);
                let frame = frame("react", json!({"seq": message, "emoji": emoji, "remove": remove}));
                self.send(device, who, &id, Op::React { seq, emoji, remove }, frame).await;
            }
        }
    }

    async fn wire_message(&self, device: &mut Device, who: usize, id: &str, text: String) {
        let client_id = ClientId::now().to_string();
        let frame = json!({"send": {"conversation": id, "clientId": client_id, "text": text}});
        self.send(device, who, id, Op::Say { client_id, text, to: None }, frame).await;
    }

    pub async fn send(&self, device: &mut Device, who: usize, id: &str, op: Op, frame: Value) {
        device.ask(Sent { frame, place: self.begin(who, id, op), times: 0 }).await;
    }

    /// What devices were answered goes into the record.
    pub fn note(&self, who: usize, device: &mut Device) {
        self.note_told(device);
        for (Sent { place, times, .. }, answer) in std::mem::take(&mut device.answers) {
            let asked = self.done().record.asked[place].clone();
            if let (Op::Read { .. }, Some(seq)) = (&asked.op, answer["ack"]["seq"].as_str()) {
                self.end(place, 0, 0, false);
                self.mark(who, &asked.room, seq.parse().unwrap());
            } else if answer["ack"].is_object() {
                let ack = &answer["ack"];
                self.end(place, number(&ack["revision"]), number(&ack["seq"]), ack["duplicate"] == true);
            } else if times == 1 {
                self.done().record.end(place, Outcome::Refused(word(&answer["error"]["reason"])));
            }
            // What is refused when it is asked for again may have been done before.
        }
    }
}
