/**
 * Files in a bucket of S3: `S3Blobs.layer({ endpoint, bucket, … })` stores their bytes.
 * In an entry of its own: whoever stores bytes elsewhere does not bundle it.
 */
export * as S3Blobs from "./layers/s3/Blobs.ts"
