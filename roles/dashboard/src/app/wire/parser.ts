// The library's parser takes ten attachments of one event. A journal may hold events with more, from an earlier version
// of the server, which sends them to clients that declare in their query how many they take.
import { Decoder as StockDecoder, Encoder } from 'socket.io-parser';

const maxAttachments = 256; // as many as the server's own clients take

class Decoder extends StockDecoder {
  constructor() {
    super({ maxAttachments });
  }
}

/** Options of every connection of the page. */
export const parser = { Encoder, Decoder };

/** The query of a connection that follows the journal: no event comes before the join. */
export const followQuery = { follow: 1, attachments: maxAttachments };
