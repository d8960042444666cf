/** How many bytes this process has sent and received on the connections that it has made. */
import { subscribe } from "node:diagnostics_channel"
import type { Socket } from "node:net"

const sockets = new Set<Socket>()
let ofClosed = 0
let isCounting = false

const of = ({ bytesRead, bytesWritten }: Socket): number => bytesRead + bytesWritten

/** How many on those that were made since it was called first. */
export const socketBytes = (): number => {
  if (!isCounting) {
    isCounting = true
    subscribe("net.client.socket", (message) => {
      const { socket } = message as { readonly socket: Socket }
      sockets.add(socket)
      socket.once("close", () => {
        sockets.delete(socket)
        ofClosed += of(socket)
      })
    })
  }
  let sum = ofClosed
  for (const socket of sockets) sum += of(socket)
  return sum
}
