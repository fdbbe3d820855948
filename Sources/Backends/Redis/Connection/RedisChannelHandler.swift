import Core
import NIOCore

/// One connection on its event loop: says the handshake, then turns bytes into replies for its link.
final class RedisChannelHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let link: RedisLink
  private let handshake: Handshake
  private var received = ByteBuffer()
  private var greetings: [RESPValue] = []
  private var isReady = false
  private var fault: (any Error)?

  init(link: RedisLink, handshake: Handshake) {
    self.link = link
    self.handshake = handshake
  }

  func channelActive(context: ChannelHandlerContext) {
    let bytes = RedisRequest.encoded(handshake.requests)
    context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if received.readableBytes == 0 {
      received = bytes
    } else {
      received.writeBuffer(&bytes)
    }
    var replies: [RESPValue] = []
    do {
      while let reply = try RESPParser.next(in: &received) { replies.append(reply) }
      received.discardReadBytes()
    } catch {
      fault = error
    }
    take(replies, context)
    if fault != nil { context.close(promise: nil) }
  }

  private func take(_ replies: [RESPValue], _ context: ChannelHandlerContext) {
    if isReady {
      if !replies.isEmpty, !link.received(replies) {
        fault = RESPFault("a reply came that nobody had asked for")
      }
      return
    }
    greetings += replies
    guard greetings.count >= handshake.requests.count else { return }
    if let error = handshake.fault(in: greetings, from: link.address) {
      fault = error
    } else {
      isReady = true
      link.connected(context.channel)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    if isReady {
      link.closed(fault)
    } else {
      link.connectFailed(fault ?? RESPFault("the connection was closed during the greeting"))
    }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A reset, or a certificate that is not trusted; `channelInactive` follows.
    if fault == nil { fault = error }
    context.close(promise: nil)
  }
}
