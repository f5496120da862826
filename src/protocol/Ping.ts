/**
 * The heartbeat of a socket: the texts of a client's ping and of its answer.
 * Apart from `Messages`, so that a client does not load the decoder of client messages.
 */

/** The text of a client's ping. The platform compares the bytes and answers with `pong`, without waking the object. */
export const ping = '{"_tag":"Ping"}'

/** The text of the answer to a ping. */
export const pong = '{"_tag":"Pong"}'
