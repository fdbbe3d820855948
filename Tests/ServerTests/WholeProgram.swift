import Testing

/// The program as its users meet it: `martlet` processes, REST, gRPC and the command line.
///
/// One test after another: each starts processes of its own and should have the machine to itself.
@Suite(.serialized) enum WholeProgram {}
