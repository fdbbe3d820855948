import Core
import GRPCCore

/// Turns every error of a call into its status, by the one error table.
struct ErrorTranslationInterceptor: ServerInterceptor {
  func intercept<Input: Sendable, Output: Sendable>(
    request: StreamingServerRequest<Input>, context: ServerContext,
    next:
      @Sendable (StreamingServerRequest<Input>, ServerContext) async throws ->
      StreamingServerResponse<Output>
  ) async throws -> StreamingServerResponse<Output> {
    var response = try await translating { try await next(request, context) }
    // A stream's messages are made after this has returned.
    if case .success(var contents) = response.accepted {
      let produce = contents.producer
      contents.producer = { writer in try await translating { try await produce(writer) } }
      response.accepted = .success(contents)
    }
    return response
  }

  private func translating<Result>(_ body: () async throws -> Result) async throws -> Result {
    do {
      return try await body()
    } catch let error as RPCError {
      throw error
    } catch {
      throw rpcError(error)
    }
  }
}

/// Refuses calls without the configured bearer token; health stays open.
struct TokenInterceptor: ServerInterceptor {
  let token: String

  func intercept<Input: Sendable, Output: Sendable>(
    request: StreamingServerRequest<Input>, context: ServerContext,
    next:
      @Sendable (StreamingServerRequest<Input>, ServerContext) async throws ->
      StreamingServerResponse<Output>
  ) async throws -> StreamingServerResponse<Output> {
    let given = request.metadata[stringValues: "authorization"].first { _ in true } ?? ""
    guard
      context.descriptor.service.fullyQualifiedService == "grpc.health.v1.Health"
        || equalInConstantTime(given, "Bearer \(token)")
    else {
      throw RPCError(
        code: .unauthenticated, message: "send the metadata authorization: Bearer TOKEN")
    }
    return try await next(request, context)
  }
}

/// Takes the priority of a call's work from the metadata `priority`.
struct PriorityInterceptor: ServerInterceptor {
  func intercept<Input: Sendable, Output: Sendable>(
    request: StreamingServerRequest<Input>, context: ServerContext,
    next:
      @Sendable (StreamingServerRequest<Input>, ServerContext) async throws ->
      StreamingServerResponse<Output>
  ) async throws -> StreamingServerResponse<Output> {
    let text = request.metadata[stringValues: "priority"].first { _ in true }
    guard let priority = try Self.priority(text) else { return try await next(request, context) }
    var response = try await CallPriority.$current.withValue(priority) {
      try await next(request, context)
    }
    if case .success(var contents) = response.accepted {
      let produce = contents.producer
      contents.producer = { writer in
        try await CallPriority.$current.withValue(priority) { try await produce(writer) }
      }
      response.accepted = .success(contents)
    }
    return response
  }

  private static func priority(_ text: String?) throws -> CallPriority? {
    do {
      return try CallPriority(named: text, in: "the metadata 'priority'")
    } catch {
      throw rpcError(error)
    }
  }
}

func rpcError(_ error: any Error) -> RPCError {
  let error = JSONResponse.platformError(error)
  var metadata: Metadata = ["martlet-error-code": .string(error.code.rawValue)]
  if let retryAfter = error.retryAfter {
    metadata.addString("\(retryAfter.microseconds / 1_000)", forKey: "retry-after-ms")
  }
  return RPCError(
    code: RPCError.Code(Status.Code(rawValue: error.code.mapping.grpc) ?? .unknown) ?? .unknown,
    message: error.description, metadata: metadata)
}
