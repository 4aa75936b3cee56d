// A service worker that shows what Madang pushes: an example for web clients, and what the tests run in a real browser.
// `push` is as docs/protocol.md has it: type, conversation, seq, sender, badge; title and body with `preview` alone.

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("push", (event) => event.waitUntil(take(event.data.json())));
self.addEventListener("notificationclick", (event) => event.waitUntil(open(event.notification)));

async function take(push) {
  // One notification for each conversation: the newest message's.
  const shown = await self.registration.getNotifications({ tag: push.conversation });
  if (push.type === "PUSH_TYPE_READ") {
    // Read on another device. What came later stays.
    shown.filter((each) => BigInt(each.data.seq) <= BigInt(push.seq)).forEach((each) => each.close());
  } else if (!shown.some((each) => BigInt(each.data.seq) > BigInt(push.seq))) {
    const options = { body: push.body, tag: push.conversation, renotify: true, data: push };
    await self.registration.showNotification(push.title ?? "New message", options);
  }
  await self.navigator.setAppBadge?.(Number(push.badge));
}

async function open(notification) {
  notification.close();
  const [page] = await self.clients.matchAll({ type: "window" });
  return page ? page.focus() : self.clients.openWindow(`/#${notification.data.conversation}`);
}
