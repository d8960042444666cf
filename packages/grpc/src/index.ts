/**
 * @since 0.1.0
 */
export * as Call from "./Call.ts"
export * as Caller from "./Caller.ts"
export * as CallTransport from "./CallTransport.ts"
export * as ConsumerOptions from "./ConsumerOptions.ts"
export * as EventConsumer from "./EventConsumer.ts"
export * as EventProducer from "./EventProducer.ts"
export * as GrpcError from "./GrpcError.ts"
export * as GrpcServer from "./GrpcServer.ts"
export * as Offer from "./Offer.ts"
export * as ProtobufCodec from "./ProtobufCodec.ts"
export * as ReplicaInfo from "./ReplicaInfo.ts"
export * as ReplicaProgress from "./ReplicaProgress.ts"
export * as StreamMetrics from "./StreamMetrics.ts"
export * as Tls from "./Tls.ts"
export * as Visibility from "./Visibility.ts"
